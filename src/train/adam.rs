//! Adam with its state in the open, so that a checkpoint can hold it.

use super::TrainConfig;
use crate::ffi::optim::{fused_adam_step, AdamHyper, AdamState};
use crate::Result;
use tch::{nn::VarStore, Kind, Tensor};

/// Adam (Kingma and Ba, Adam: A Method for Stochastic Optimization, 2015, <https://arxiv.org/abs/1412.6980>) over
/// the trainable variables of a store, in the order of their names:
///
/// ```text
/// m <- b1 m + (1 - b1) g            v <- b2 v + (1 - b2) g^2
/// p <- p - lr m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)
/// ```
///
/// Where `g` is the gradient plus `weight_decay * p`. With AMSGrad (Reddi, Kale and Kumar, On the Convergence of Adam
/// and Beyond, 2018, <https://arxiv.org/abs/1904.09237>) the largest `v` so far takes the place of `v` in the second
/// line. The steps are torch's fused ones: a few launches for all parameters together.
#[derive(Debug)]
pub struct Adam {
    names: Vec<String>,
    params: Vec<Tensor>,
    exp_avg: Vec<Tensor>,
    exp_avg_sq: Vec<Tensor>,
    /// Largest `exp_avg_sq` so far, with AMSGrad.
    max_exp_avg_sq: Option<Vec<Tensor>>,
    /// 0-d; one count for all parameters, since every step moves all of them.
    count: Tensor,
    hyper: AdamHyper,
}

impl Adam {
    /// State of zeros for the variables of `vs` that require a gradient.
    ///
    /// # Errors
    /// Not enough memory on the device.
    pub fn new(vs: &VarStore, config: &TrainConfig) -> Result<Self> {
        let mut variables: Vec<_> = vs
            .variables()
            .into_iter()
            .filter(|(_, tensor)| tensor.requires_grad())
            .collect();
        // the store is a hash map: sorting makes sums over all parameters the same in every run
        variables.sort_by(|a, b| a.0.cmp(&b.0));
        let (names, params): (Vec<_>, Vec<_>) = variables.into_iter().unzip();
        let zeros = |params: &[Tensor]| -> Result<Vec<Tensor>> {
            Ok(params
                .iter()
                .map(|p| p.detach().f_zeros_like())
                .collect::<std::result::Result<_, _>>()?)
        };
        Ok(Self {
            exp_avg: zeros(&params)?,
            exp_avg_sq: zeros(&params)?,
            max_exp_avg_sq: config.amsgrad.then(|| zeros(&params)).transpose()?,
            count: Tensor::f_zeros([0i64; 0], (Kind::Float, vs.device()))?,
            names,
            params,
            hyper: AdamHyper {
                lr: config.lr,
                beta1: config.betas[0],
                beta2: config.betas[1],
                eps: config.eps,
                weight_decay: config.weight_decay,
            },
        })
    }

    /// Names of the parameters, sorted.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The parameters, in the order of their names.
    pub fn params(&self) -> &[Tensor] {
        &self.params
    }

    /// Steps done, 0-d float32; those that were skipped are not counted.
    pub fn count(&self) -> &Tensor {
        &self.count
    }

    /// One step with gradients in the order of [`params`](Self::params), each divided by the 0-d tensor
    /// `grad_scale`. Where the 0-d tensor `skip` is 1, nothing is changed, to the bit; it is 0 otherwise.
    ///
    /// # Errors
    /// Gradients of other shapes or kinds than the parameters, or that share memory; the message names the parameter.
    pub fn step(
        &mut self,
        grads: &[Tensor],
        lr: f64,
        grad_scale: Option<&Tensor>,
        skip: Option<&Tensor>,
    ) -> Result<()> {
        let hyper = AdamHyper { lr, ..self.hyper };
        fused_adam_step(
            &self.names,
            &self.params,
            grads,
            AdamState {
                exp_avg: &self.exp_avg,
                exp_avg_sq: &self.exp_avg_sq,
                max_exp_avg_sq: self.max_exp_avg_sq.as_deref(),
                step: &self.count,
            },
            hyper,
            [grad_scale, skip],
        )
    }

    /// The whole state by name (`exp_avg.NAME`, `exp_avg_sq.NAME`, with AMSGrad `max_exp_avg_sq.NAME`, and `step`); the
    /// tensors share their storage with the optimiser's.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let part = |kind: &'static str, tensors: &'_ [Tensor]| -> Vec<(String, Tensor)> {
            let named = self.names.iter().zip(tensors);
            named
                .map(|(name, tensor)| (format!("{kind}.{name}"), tensor.shallow_clone()))
                .collect()
        };
        let mut state = part("exp_avg", &self.exp_avg);
        state.extend(part("exp_avg_sq", &self.exp_avg_sq));
        if let Some(largest) = &self.max_exp_avg_sq {
            state.extend(part("max_exp_avg_sq", largest));
        }
        state.push(("step".to_owned(), self.count.shallow_clone()));
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{nn::Init, Device};

    /// The equations of the type's documentation, number by number, with a learning rate of 0.02, a gradient scale of
    /// 4 and a weight decay of 0.1.
    fn by_definition(start: f64, grads: &[f64], amsgrad: bool) -> f64 {
        let (lr, scale, decay) = (0.02, 4.0, 0.1);
        let (mut p, mut m, mut v, mut largest) = (start, 0.0, 0.0, 0f64);
        for (i, grad) in grads.iter().enumerate() {
            let g = grad / scale + decay * p;
            m = 0.9 * m + 0.1 * g;
            v = 0.99 * v + 0.01 * g * g;
            largest = largest.max(v);
            let (t, v) = (i as i32 + 1, if amsgrad { largest } else { v });
            let (m_hat, v_hat) = (m / (1.0 - 0.9f64.powi(t)), v / (1.0 - 0.99f64.powi(t)));
            p -= lr * m_hat / (v_hat.sqrt() + 1e-8);
        }
        p
    }

    #[test]
    fn steps_follow_the_definition_for_every_parameter() {
        for amsgrad in [false, true] {
            let vs = VarStore::new(Device::Cpu);
            let starts = [("b", 0.5), ("a", -1.5)];
            let vars = starts.map(|(name, value)| vs.root().var(name, &[3, 2], Init::Const(value)));
            let config = TrainConfig {
                weight_decay: 0.1,
                betas: [0.9, 0.99],
                amsgrad,
                ..TrainConfig::default()
            };
            let mut adam = Adam::new(&vs, &config).unwrap();
            assert_eq!(adam.names(), ["a", "b"]);
            // a large gradient first: AMSGrad remembers it while the plain second moment fades
            let grads = [40.0, -3.0, 0.25, 1.0, 0.1];
            let scale = Tensor::from(4.0f32);
            for grad in grads {
                let grads =
                    [grad, 2.0 * grad].map(|g| Tensor::full([3, 2], g, (Kind::Float, Device::Cpu)));
                adam.step(&grads, 0.02, Some(&scale), None).unwrap();
            }
            let doubled = grads.map(|grad| 2.0 * grad);
            for (var, (start, grads)) in vars.iter().zip([(0.5, doubled), (-1.5, grads)]) {
                let expected = by_definition(start, &grads, amsgrad);
                let error = (var - expected).abs().max().double_value(&[]);
                assert!(error < 1e-6, "amsgrad {amsgrad}: {error}");
            }
            let other = by_definition(0.5, &doubled, !amsgrad);
            let apart = (&vars[0] - other).abs().max().double_value(&[]);
            assert!(apart > 1e-4, "the two variants agree here: {apart}");
            let names: Vec<_> = adam.state().into_iter().map(|(name, _)| name).collect();
            assert_eq!(names.contains(&"max_exp_avg_sq.a".to_owned()), amsgrad);
        }
    }
}
