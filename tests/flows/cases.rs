//! Every layer with random parameters, for the laws that all of them obey. Needs `mod common` beside it.

use crate::common::*;
use inverse_flow::distributions::LearnedPrior;
use inverse_flow::flows::*;
use inverse_flow::nn::{norm_net, weight_norm_net, CouplingConfig, CouplingNet, Net};
use inverse_flow::ops::Corner;
use tch::{nn, Kind, Tensor};

/// One layer with random parameters, and inputs it is defined for.
pub struct Case {
    pub name: String,
    pub vs: nn::VarStore,
    pub layer: Box<dyn Transform>,
    pub chw: [i64; 3],
    /// Maps normal numbers to the layer's domain.
    pub domain: fn(Tensor) -> Tensor,
}

impl Case {
    fn new<T: Transform + 'static>(
        name: impl Into<String>,
        chw: [i64; 3],
        std: f64,
        make: impl FnOnce(&nn::Path) -> T,
    ) -> Self {
        let vs = store(Kind::Double);
        let mut layer = seeded(|| make(&vs.root()));
        let first = normal(9, &[4, chw[0], chw[1], chw[2]]);
        layer.initialize(&first, Cx::default()).unwrap();
        randomize(&vs, 3, std);
        Self {
            name: name.into(),
            vs,
            layer: Box::new(layer),
            chw,
            domain: |x| x,
        }
    }

    /// As `new`, but the parameters stay near their start: for layers that random ones would make singular.
    fn shaken<T: Transform + 'static>(
        name: impl Into<String>,
        chw: [i64; 3],
        std: f64,
        make: impl FnOnce(&nn::Path) -> T,
    ) -> Self {
        let vs = store(Kind::Double);
        let layer = seeded(|| make(&vs.root()));
        shake(&vs, 3, std);
        // no part of what is evaluated
        if let Some(learned_inverse) = vs.variables().get("inverse") {
            let _ = learned_inverse.set_requires_grad(false);
        }
        Self {
            name: name.into(),
            vs,
            layer: Box::new(layer),
            chw,
            domain: |x| x,
        }
    }

    /// `n` samples.
    pub fn input(&self, n: i64) -> Tensor {
        let [c, h, w] = self.chw;
        (self.domain)(normal(21, &[n, c, h, w]))
    }
}

fn conv(corners: &[Corner], channels: i64, kernel: i64, diagonal: Diagonal) -> InvConvConfig {
    InvConvConfig {
        corners: corners.to_vec(),
        diagonal,
        ..InvConvConfig::new(channels, kernel)
    }
}

/// All of them.
pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new("squeeze 2", [1, 6, 4], 0.0, |_| Squeeze::new(2).unwrap()),
        Case::new("squeeze 3", [2, 3, 6], 0.0, |_| Squeeze::new(3).unwrap()),
        Case::new("scale", [3, 2, 5], 0.0, |_| Scale),
        Case {
            domain: |x| x.sigmoid(),
            ..Case::new("logit", [3, 2, 5], 0.0, |_| LogitMap::new(1e-6).unwrap())
        },
        Case {
            domain: |x| x.sigmoid(),
            ..Case::new("logit, wide margin", [1, 3, 2], 0.0, |_| {
                LogitMap::new(0.05).unwrap()
            })
        },
        Case::new("actnorm", [3, 2, 5], 0.5, |vs| ActNorm::new(vs, 3).unwrap()),
        Case::new("reverse_channels", [5, 2, 3], 0.0, |_| ReverseChannels),
        Case::new("inverted conv", [3, 4, 2], 0.3, |vs| {
            Inverted(
                InvConv::new(vs, &conv(&[Corner::TopRight], 3, 2, Diagonal::Learnable)).unwrap(),
            )
        }),
        Case::new("sequential", [4, 2, 3], 0.3, |vs| {
            Sequential::new()
                .push("actnorm", ActNorm::new(&(vs / "actnorm"), 4).unwrap())
                .push(
                    "conv",
                    InvConv::new(&(vs / "conv"), &InvConvConfig::new(4, 2)).unwrap(),
                )
                .push("reverse", ReverseChannels)
                .push("spline", {
                    let config = SplineConfig {
                        bins: 4,
                        tail: 3.0,
                        shared: true,
                    };
                    Spline::new(&(vs / "spline"), [4, 2, 3], &config).unwrap()
                })
        }),
        Case::new("empty sequential", [2, 2, 3], 0.0, |_| Sequential::new()),
    ];
    for (kernel, chw) in [
        (1, [5, 2, 3]),
        (2, [3, 5, 2]),
        (3, [4, 2, 5]),
        (5, [2, 3, 4]),
    ] {
        for diagonal in [Diagonal::Unit, Diagonal::Learnable] {
            let name = format!("inv_conv k={kernel} {diagonal:?}");
            let config = conv(&[Corner::TopLeft], chw[0], kernel, diagonal);
            cases.push(Case::new(name, chw, 0.3, |vs| {
                InvConv::new(vs, &config).unwrap()
            }));
        }
    }
    for diagonal in [Diagonal::Unit, Diagonal::Learnable] {
        let config = InvConvConfig {
            bound: Some(0.7),
            ..conv(&[Corner::BottomRight, Corner::TopLeft], 6, 3, diagonal)
        };
        let name = format!("inv_conv, bounded, {diagonal:?}");
        cases.push(Case::new(name, [6, 3, 4], 0.3, |vs| {
            InvConv::new(vs, &config).unwrap()
        }));
    }
    let four = conv(&Corner::ALL, 8, 2, Diagonal::Learnable);
    cases.push(Case::new("inv_conv, four corners", [8, 2, 3], 0.3, |vs| {
        InvConv::new(vs, &four).unwrap()
    }));
    cases.extend(families());
    for net in [Net::W, Net::N, Net::T, Net::Z] {
        let config = CouplingConfig {
            net,
            width: 7,
            zero_init_last: false,
        };
        cases.push(Case::new(
            format!("coupling {net:?}"),
            [4, 3, 5],
            0.4,
            |vs| Coupling::new(vs, 4, |vs, i, o| CouplingNet::new(vs, i, o, &config)).unwrap(),
        ));
    }
    for (bins, shared) in [(1, true), (5, true), (10, true), (1, false), (4, false)] {
        // half of the normal numbers lie in the tails
        let config = SplineConfig {
            bins,
            tail: 0.7,
            shared,
        };
        let name = format!("spline of {bins} bins, shared: {shared}");
        cases.push(Case::new(name, [3, 2, 5], 1.0, |vs| {
            Spline::new(vs, [3, 2, 5], &config).unwrap()
        }));
    }
    cases.extend(published_cases());
    cases
}

/// MaCow, MintNet, Woodbury, ButterflyFlow, and what their networks need beside.
fn published_cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new("squeeze 2, block-major", [3, 6, 4], 0.0, |_| {
            Squeeze::block_major(2).unwrap()
        }),
        Case::new("center", [3, 2, 5], 0.0, |_| Center::new(2.0).unwrap()),
        Case {
            domain: |x| x.sigmoid(),
            ..Case::new("logit, symmetric", [1, 3, 2], 0.0, |_| {
                LogitMap::symmetric(0.05).unwrap()
            })
        },
        Case::new("actnorm, scale then shift", [3, 2, 5], 0.5, |vs| {
            ScaleThenShift::new(vs, 3).unwrap()
        }),
        Case::new("learned prior", [3, 2, 5], 0.5, |vs| {
            LearnedPrior::new(vs, [3, 2, 5]).unwrap()
        }),
        Case::new("woodbury", [3, 2, 5], 0.3, |vs| {
            let ranks = WoodburyRanks::Plain {
                channels: 2,
                pixels: 3,
            };
            Woodbury::new(vs, [3, 2, 5], ranks).unwrap()
        }),
        Case::new("woodbury, memory-efficient", [3, 4, 5], 0.3, |vs| {
            let ranks = WoodburyRanks::MemoryEfficient {
                channels: 4,
                width: 2,
                height: 3,
            };
            Woodbury::new(vs, [3, 4, 5], ranks).unwrap()
        }),
        Case::new("butterfly", [3, 2, 4], 1.0, |vs| {
            Butterfly::new(vs, [3, 2, 4], &[0, 2, 1], ButterflyInit::Rotation).unwrap()
        }),
        Case::new("macow unit", [2, 4, 3], 0.3, |vs| {
            macow_unit(vs, 2, [2, 3]).unwrap()
        }),
    ];
    for order in LineOrder::ALL {
        let name = format!("masked_conv_flow {order:?}");
        cases.push(Case::new(name, [2, 5, 4], 0.4, |vs| {
            MaskedConvFlow::new(vs, 2, order, [2, 3]).unwrap()
        }));
    }
    for (form, parts) in [
        (AffineForm::Sigmoid, [3, 1]),
        (AffineForm::ShiftedSigmoid, [2, 2]),
        (AffineForm::Gaussian, [1, 3]),
    ] {
        cases.push(Case::new(
            format!("coupling {form:?}, weight-normalised net"),
            [4, 3, 5],
            0.4,
            |vs| {
                AffineCoupling::new(vs, parts, form, |vs, i, o| weight_norm_net(vs, i, o, 5))
                    .unwrap()
            },
        ));
        cases.push(Case::new(
            format!("coupling {form:?}, normalised net"),
            [4, 3, 5],
            0.3,
            |vs| AffineCoupling::new(vs, parts, form, |vs, i, o| norm_net(vs, i, o, 5)).unwrap(),
        ));
    }
    for triangle in [Triangle::Lower, Triangle::Upper] {
        let case = Case::new(
            format!("masked_residual {triangle:?}"),
            [2, 3, 4],
            0.0,
            |vs| {
                let solver = FixedPoint::default();
                MaskedResidual::new(vs, [2, 3, 4], 3, triangle, solver).unwrap()
            },
        );
        // its slope must not come near 0 by chance
        for (name, mut variable) in named(&case.vs) {
            if name == "t" {
                let _ = tch::no_grad(|| variable.fill_(1.0));
            }
        }
        shake(&case.vs, 3, 0.15);
        cases.push(case);
    }
    cases
}

/// The layers of the other published families.
fn families() -> Vec<Case> {
    let mut cases = vec![
        Case::shaken("conv1x1", [5, 2, 3], 0.1, |vs| Conv1x1::new(vs, 5).unwrap()),
        Case::new("masked_conv without bias", [3, 4, 2], 0.3, |vs| {
            let config = conv(&[Corner::BottomLeft], 3, 2, Diagonal::Learnable);
            MaskedConv::new(vs, &config, false).unwrap()
        }),
        Case::new("quad_coupling", [8, 3, 2], 0.4, |vs| {
            let config = CouplingConfig {
                net: Net::W,
                width: 5,
                zero_init_last: false,
            };
            QuadCoupling::new(vs, 8, |vs, i, o| CouplingNet::new(vs, i, o, &config)).unwrap()
        }),
    ];
    for (kernel, chw) in [(1, [3, 2, 5]), (3, [2, 3, 4]), (5, [3, 2, 3])] {
        let config = SelfNormConfig {
            kernel,
            ..Default::default()
        };
        let name = format!("self_norm k={kernel}");
        cases.push(Case::shaken(name, chw, 0.05, |vs| {
            SelfNorm::new(vs, chw[0], &config).unwrap()
        }));
    }
    for (kernel, chw) in [(2, [3, 4, 2]), (3, [4, 2, 5])] {
        let config = EmergingConfig { kernel };
        let name = format!("emerging k={kernel}");
        cases.push(Case::shaken(name, chw, 0.1, |vs| {
            Emerging::new(vs, chw[0], &config).unwrap()
        }));
    }
    cases.extend(per_kernel(
        "finc",
        [[4, 3, 2], [8, 2, 4]],
        |vs, channels, kernel| {
            let config = FincConfig {
                kernel,
                ..Default::default()
            };
            Finc::new(vs, channels, &config).unwrap()
        },
    ));
    cases.extend(per_kernel(
        "cinc",
        [[3, 4, 2], [4, 2, 5]],
        |vs, channels, kernel| {
            let config = CincConfig {
                kernel,
                ..Default::default()
            };
            Cinc::new(vs, channels, &config).unwrap()
        },
    ));
    cases
}

/// A layer with filters of 2x2 and one of 3x3, each for images of its own size.
fn per_kernel<T: Transform + 'static>(
    kind: &'static str,
    sizes: [[i64; 3]; 2],
    make: impl Fn(&nn::Path, i64, i64) -> T + 'static,
) -> impl Iterator<Item = Case> {
    [2, 3].into_iter().zip(sizes).map(move |(kernel, chw)| {
        Case::new(format!("{kind} k={kernel}"), chw, 0.3, |vs| {
            make(vs, chw[0], kernel)
        })
    })
}
