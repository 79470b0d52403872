//! The CUDA kernel that makes training batches, run block by block on the host, against what the CPU makes: equal bits.

use crate::host_cuda::memory::Memory;
use crate::host_cuda::twin::run_stages;
use inverse_flow::cuda::batch::{batch_plan, BatchOf};
use inverse_flow::data::{
    stream, stream_key, uniform_noise, Augmentation, Change, DataName, Dataset, Purpose,
};
use rand_chacha::rand_core::RngCore;
use tch::{Device, Kind, Tensor};

/// `[N, C, H, W]`: one thread, one block that is not full, several, and images that are smaller than their shift.
const CASES: [[i64; 4]; 6] = [
    [1, 1, 1, 1],
    [4, 3, 1, 2],
    [3, 2, 5, 7],
    [5, 1, 28, 28],
    [7, 3, 32, 32],
    [2, 5, 37, 41],
];

struct Case {
    size: [i64; 4],
    augmentation: Option<Augmentation>,
    data: Dataset,
    indices: Vec<usize>,
}

impl Case {
    fn new(size: [i64; 4], augmentation: Option<Augmentation>) -> Self {
        let [n, c, h, w] = size;
        let count = n as usize + 3;
        let mut images = vec![0; count * (c * h * w) as usize];
        stream(1, Purpose::Probe, 0).fill_bytes(&mut images);
        Self {
            size,
            augmentation,
            data: Dataset::new("test", [c, h, w], images, vec![0; count]).unwrap(),
            // neither sorted nor without repetition
            indices: (0..n as usize).map(|i| (5 * i + 2) % count).collect(),
        }
    }

    fn noise_stream() -> (u64, Purpose, u64) {
        (u64::MAX - 6, Purpose::Noise, (1 << 40) + 9)
    }

    fn on_cpu(&self) -> [Tensor; 2] {
        let mut changes = stream(3, Purpose::Augment, 7);
        let bytes = match self.augmentation {
            Some(augmentation) => self
                .data
                .augmented(&self.indices, augmentation, &mut changes),
            None => self.data.gathered(&self.indices),
        };
        let (seed, purpose, index) = Self::noise_stream();
        let mut rng = stream(seed, purpose, index);
        let noise = uniform_noise(&mut rng, &self.size, Kind::Float, Device::Cpu);
        let x = Tensor::from_slice(&bytes.unwrap()).view(self.size);
        [x.to_kind(Kind::Float), noise.unwrap()]
    }

    fn by_the_kernel(&self, order: u32) -> [Tensor; 2] {
        let (seed, purpose, index) = Self::noise_stream();
        let mut plan = batch_plan(&BatchOf {
            size: self.size,
            reflect: self.augmentation.is_some_and(Augmentation::reflects),
            key: stream_key(seed, purpose, index),
        })
        .unwrap();
        let mut changes = stream(3, Purpose::Augment, 7);
        let picks: Vec<i32> = self
            .indices
            .iter()
            .flat_map(|&image| {
                let change = match self.augmentation {
                    Some(augmentation) => augmentation.draw(&mut changes),
                    None => Change::default(),
                };
                [
                    image as i32,
                    i32::from(change.flip),
                    change.rows,
                    change.columns,
                ]
            })
            .collect();
        let elements = self.size.iter().product::<i64>() as usize;
        let [x, noise] = [(); 2].map(|()| Memory::new(elements, Kind::Float));
        let images = self.data.pixels().unwrap();
        plan.params.images = images.as_ptr() as u64;
        plan.params.picks = picks.as_ptr() as u64;
        plan.params.x = x.address();
        plan.params.noise = noise.address();
        // SAFETY: the parameters of this kernel; all memory has the sizes of the plan and outlives the call.
        unsafe { run_stages("launch_batch", &[plan.launch], &plan.params, order) };
        [x, noise].map(|memory| memory.read(&self.size))
    }
}

#[test]
fn images_and_noise_are_those_of_the_cpu_to_the_bit() {
    let augmentations = [
        None,
        Some(Augmentation::of(DataName::Mnist)),
        Some(Augmentation::of(DataName::Cifar10)),
    ];
    for size in CASES {
        for augmentation in augmentations {
            let case = Case::new(size, augmentation);
            let expected = case.on_cpu();
            for order in [0, 1, 5] {
                // written so that a NaN fails
                let equal = case.by_the_kernel(order) == expected;
                assert!(equal, "{size:?} {augmentation:?} order {order}");
            }
        }
    }
}
