

# Classes: `class_names`, and `class_images` training images of each, to which their probabilities are proportional.


# The class of every image, one-hot in the dtype of `like`: `label` [N] holds numbers of classes.
def condition(self, label: Tensor, like: Tensor) -> Tensor:
    count = len(self.class_names)
    fits = label.dim() == 1 and label.size(0) == like.size(0) and not label.is_floating_point()
    assert fits, "expected label to be [N] integers with N = {}, got {}".format(like.size(0), label)
    if label.numel() > 0:
        inside = int(label.min()) >= 0 and int(label.max()) < count
        assert inside, "expected label to hold numbers of classes from 0 to {}, got {}".format(count - 1, label)
    classes = torch.arange(count, device=label.device)
    return (label.unsqueeze(1) == classes).to(like.device, like.dtype)


# log p(x | y) of every image and every class, [N, Y], with one noise for all classes.
def class_log_probs(self, x: Tensor, noise: Optional[Tensor] = None) -> Tensor:
    every: List[Tensor] = []
    for y in range(len(self.class_names)):
        label = torch.arange(x.size(0), device=x.device) * 0 + y
        every.append(self.log_prob(x, label, noise))
    return torch.stack(every, 1)


# log p(x) with the class unknown, [N]: log of the sum over classes of p(y) p(x | y).
def marginal_log_prob(self, x: Tensor, noise: Optional[Tensor] = None) -> Tensor:
    images = torch.tensor(self.class_images, device=x.device).to(x.dtype)
    prior = torch.log(images / images.sum())
    return torch.logsumexp(self.class_log_probs(x, noise) + prior, [1])
