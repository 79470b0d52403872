//! A model with a layer that has no inverse: an error that names the layer, on every device, and nothing left of it.
//!
//! A device has one word about such layers, and every step of every model reads it: each test is a process of its own.

use crate::device::device;
use crate::process::again;
use inverse_flow::cuda::check;
use inverse_flow::data::Dataset;
use inverse_flow::flows::{Cx, Diagonal, InvConv, InvConvConfig};
use inverse_flow::models::MultiScale;
use inverse_flow::train::{
    build_model, sample, Dequantization, Evaluation, Learner, RunConfig, Step, TrainConfig,
};
use inverse_flow::{Error, Result};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

const CHILD: &str = "INVERSE_FLOW_TEST_SINGULAR";

/// Whether this is the process of the test alone; else starts it and passes on how it ended.
fn alone(test: &str) -> bool {
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let output = again(module_path!(), test)
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    false
}

/// A model with a filter that can lose its inverse.
struct Subject {
    learner: Learner,
    /// Name of the filter's variable, and its value at the start.
    theta: (String, Tensor),
}

/// The channel that gets a zero.
const CHANNEL: i64 = 1;
const BATCH: i64 = 2;

impl Subject {
    /// The last variable whose name ends with `filter` is the filter.
    fn new(mut model: MultiScale, vs: VarStore, filter: &str) -> Self {
        let variables = vs.variables().into_iter();
        let filters = variables.filter(|(name, _)| name.ends_with(filter));
        let (name, theta) = filters.max_by(|a, b| a.0.cmp(&b.0)).unwrap();
        tch::no_grad(|| model.initialize(&images(&model), Cx::default())).unwrap();
        Self {
            learner: Learner::new(model, vs, &TrainConfig::default()).unwrap(),
            theta: (name, theta.detach().copy()),
        }
    }

    fn quick(family: &str, filter: &str) -> Self {
        tch::manual_seed(3);
        let config = RunConfig::resolve(Some(&format!("quick/{family}")), None).unwrap();
        let (model, vs) = build_model(&config, device()).unwrap();
        Self::new(model, vs, filter)
    }

    /// Inverse-Flow's layer with a learnable diagonal, for which training solves.
    fn inverse_flow() -> Self {
        tch::manual_seed(3);
        let vs = VarStore::new(device());
        let mut model = MultiScale::builder(&vs.root(), [2, 4, 3]).unwrap();
        for name in ["first", "second"] {
            let config = InvConvConfig {
                diagonal: Diagonal::Learnable,
                ..InvConvConfig::new(2, 3)
            };
            let layer = InvConv::new(&(vs.root() / name), &config).unwrap();
            model.layer(name, layer).unwrap();
        }
        Self::new(model.finish().unwrap(), vs, "second.weight")
    }

    fn theta(&self) -> Tensor {
        self.learner.vs.variables().remove(&self.theta.0).unwrap()
    }

    /// What an error must say.
    fn expected(&self) -> String {
        let layers = self.learner.model.layers().into_iter();
        let within = |name: &String| self.theta.0.starts_with(&format!("{name}."));
        let layer = layers.map(|(name, _)| name).find(within).unwrap();
        format!(
            "`{layer}`: inv_conv2d: `weight` has a zero on the diagonal of the anchor tap at channel {CHANNEL}: the \
             convolution has no inverse"
        )
    }

    /// `call` fails while the filter has no inverse, says where, and works again afterwards.
    fn fails<T>(&mut self, what: &str, mut call: impl FnMut(&mut Learner) -> Result<T>) {
        let mut call = |learner: &mut Learner| call(learner).map(drop);
        assert_eq!(
            call(&mut self.learner).map_err(|err| err.to_string()),
            Ok(()),
            "{what}"
        );
        let k = self.theta.1.size()[3];
        let entry = self.theta().get(CHANNEL).get(CHANNEL).get(k - 1).get(k - 1);
        // exp(-200) is 0 in float32
        let _ = tch::no_grad(|| entry.shallow_clone().fill_(-200.0));
        let err = call(&mut self.learner).unwrap_err();
        assert!(matches!(err, Error::Singular { .. }), "{what}: {err:?}");
        assert_eq!(err.to_string(), self.expected(), "{what}");
        let once_more = check(device()).map_err(|err| err.to_string());
        assert_eq!(once_more, Ok(()), "{what}: nothing is left of it");
        tch::no_grad(|| self.theta().copy_(&self.theta.1));
        assert_eq!(
            call(&mut self.learner).map_err(|err| err.to_string()),
            Ok(()),
            "{what}"
        );
        assert_eq!(
            self.learner.skipped(),
            (0, 0),
            "{what}: an error, and no skipped step"
        );
    }
}

fn images(model: &MultiScale) -> Tensor {
    let [c, h, w] = model.image_shape();
    let pixels = Tensor::arange(BATCH * c * h * w, (Kind::Float, device()));
    (pixels * 37.0).remainder(256.0).view([BATCH, c, h, w])
}

fn step(learner: &mut Learner) -> Result<Step> {
    let x = images(&learner.model);
    let noise = Tensor::full(x.size(), 0.5, (Kind::Float, device()));
    learner.step(&x, &noise, 1e-9)
}

fn evaluation() -> Evaluation {
    Evaluation {
        batch_size: 1,
        dequantize: Dequantization::Midpoint,
        seed: 0,
        device: device(),
    }
}

fn dataset(model: &MultiScale) -> Dataset {
    let pixels = images(model).to_device(Device::Cpu).to_kind(Kind::Uint8);
    let pixels = Vec::<u8>::try_from(pixels.view(-1)).unwrap();
    Dataset::new("test", model.image_shape(), pixels, vec![0; BATCH as usize]).unwrap()
}

fn draw(model: &MultiScale) -> Result<Tensor> {
    sample(model, 2, 1.0, 7, device(), 1)
}

#[test]
fn training_stops_with_the_layer_that_it_cannot_solve() {
    if !alone("training_stops_with_the_layer_that_it_cannot_solve") {
        return;
    }
    let mut subject = Subject::inverse_flow();
    let data = dataset(&subject.learner.model);
    subject.fails("step", step);
    subject.fails("eval", |learner| {
        evaluation().likelihood(&learner.model, &data)
    });
    subject.fails("reconstruct", |learner| {
        evaluation().reconstruct(&learner.model, &data)
    });
    subject.fails("round trip", |learner| {
        evaluation().round_trip(&learner.model, &data)
    });
    subject.learner.rebuild_activations(true);
    subject.fails("step that rebuilds", step);
}

#[test]
fn sampling_stops_with_the_layer_that_it_cannot_solve() {
    if !alone("sampling_stops_with_the_layer_that_it_cannot_solve") {
        return;
    }
    for (family, filter) in [
        ("cinc", "cinc.weight"),
        ("emerging", "emerging.top_left.weight"),
    ] {
        let mut subject = Subject::quick(family, filter);
        subject.fails(family, |learner| draw(&learner.model));
        // training solves where it rebuilds what it went through
        subject.learner.rebuild_activations(true);
        subject.fails(&format!("{family}: step that rebuilds"), step);
    }
}

#[test]
fn filters_that_have_an_inverse_whatever_theta_is_are_no_error() {
    if !alone("filters_that_have_an_inverse_whatever_theta_is_are_no_error") {
        return;
    }
    for (family, filter) in [("inverse-flow", "inv_conv.weight"), ("finc", "finc.weight")] {
        let mut subject = Subject::quick(family, filter);
        let _ = tch::no_grad(|| subject.theta().fill_(0.0));
        assert!(step(&mut subject.learner).is_ok(), "{family}");
        assert!(draw(&subject.learner.model).is_ok(), "{family}");
        assert!(check(device()).is_ok(), "{family}");
    }
}
