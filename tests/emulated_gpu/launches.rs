//! Launches: a card and its driver refuse what is wrong with them.

use crate::bindings::{
    emulated, Driver, Launch, ILLEGAL_ADDRESS, IMAGE, INVALID_CONTEXT, INVALID_HANDLE,
    INVALID_IMAGE, INVALID_VALUE, NOT_FOUND, SUCCESS,
};
use inverse_flow::cuda::baseline::{launches, BaselineParams};
use inverse_flow::ops::{Corner, Geometry};
use std::ffi::c_void;
use std::ptr::null_mut;
use tch::{Device, Kind, Tensor};

const KERNEL: &str = "baseline_per_diagonal_f32";
const OPT_IN: i32 = 8;

/// A right launch of a small kernel on a device, and the tensors that it reads and writes.
struct Case {
    tensors: [Tensor; 4],
    launch: Launch,
    params: BaselineParams,
    function: *mut c_void,
}

impl Case {
    fn new(driver: &Driver, device: usize) -> Self {
        driver.enter(device as i32);
        let options = (Kind::Float, Device::Cuda(device));
        let (y, weight) = (
            Tensor::ones([1, 1, 2, 2], options),
            Tensor::ones([1, 1, 2, 2], options),
        );
        let geometry = Geometry::check("test", &y, &weight, &[Corner::TopLeft]).unwrap();
        let (planned, mut params) = launches(&geometry, Kind::Float, &[Corner::TopLeft])
            .unwrap()
            .swap_remove(0);
        let x = Tensor::empty([1, 1, 2, 2], options);
        params.y = y.data_ptr() as u64;
        params.weight = weight.data_ptr() as u64;
        let singular = Tensor::zeros([1], (Kind::Int, Device::Cuda(device)));
        params.x = x.data_ptr() as u64;
        params.singular = singular.data_ptr() as u64;
        let launch = Launch {
            grid: planned.grid,
            block: planned.block,
            shared_bytes: planned.shared_bytes,
            stream: driver.stream(device as i32, 0),
        };
        Self {
            tensors: [y, weight, x, singular],
            launch,
            params,
            function: driver.function(KERNEL).unwrap(),
        }
    }

    fn run(&self, driver: &Driver) -> i32 {
        driver.launch(self.function, &self.launch, &self.params)
    }
}

#[test]
fn cuda_a_right_launch_runs_on_each_device() {
    let Some((_turn, driver, _)) = emulated("cuda_a_right_launch_runs_on_each_device") else {
        return;
    };
    for device in [0, 1] {
        let case = Case::new(&driver, device);
        assert_eq!(case.run(&driver), SUCCESS);
        assert_eq!(case.tensors[2].double_value(&[0, 0, 0, 0]), 1.0);
    }
    driver.enter(0);
}

#[test]
fn cuda_sizes_beyond_those_of_a_card_are_refused() {
    let Some((_turn, driver, _)) = emulated("cuda_sizes_beyond_those_of_a_card_are_refused") else {
        return;
    };
    let case = Case::new(&driver, 0);
    let wrong: [fn(&mut Launch); 8] = [
        |launch| launch.grid[0] = 0,
        |launch| launch.grid[1] = 65_536,
        |launch| launch.grid[2] = 65_536,
        |launch| launch.grid[0] = 1 << 31,
        |launch| launch.block = [0, 1, 1],
        |launch| launch.block = [1, 1, 65],
        // 256 are what the kernel was compiled for
        |launch| launch.block = [257, 1, 1],
        |launch| launch.shared_bytes = 48 * 1024 + 1,
    ];
    for (number, change) in wrong.iter().enumerate() {
        let mut launch = case.launch;
        change(&mut launch);
        assert_eq!(
            driver.launch(case.function, &launch, &case.params),
            INVALID_VALUE,
            "{number}"
        );
    }
    // shared memory beyond the default is had by asking
    let launch = Launch {
        shared_bytes: 48 * 1024 + 1,
        ..case.launch
    };
    assert_eq!(
        driver.set_attribute(case.function, OPT_IN, 227 * 1024 + 1),
        INVALID_VALUE
    );
    assert_eq!(
        driver.set_attribute(case.function, OPT_IN, 227 * 1024),
        SUCCESS
    );
    assert_eq!(driver.launch(case.function, &launch, &case.params), SUCCESS);
    let (mut threads, mut blocks) = (0, 0);
    assert_eq!(
        driver.get_attribute(&mut threads, 0, case.function),
        SUCCESS
    );
    assert_eq!(
        driver.occupancy(&mut blocks, case.function, 256, 100 * 1024),
        SUCCESS
    );
    assert_eq!((threads, blocks), (256, 2));
}

#[test]
fn cuda_addresses_that_are_no_memory_of_the_device_are_refused() {
    let Some((_turn, driver, _)) =
        emulated("cuda_addresses_that_are_no_memory_of_the_device_are_refused")
    else {
        return;
    };
    let case = Case::new(&driver, 0);
    let host = [0f32; 4];
    let elsewhere = Tensor::ones([4], (Kind::Float, Device::Cuda(1)));
    let dropped = {
        let freed = Tensor::ones([4], (Kind::Float, Device::Cuda(0)));
        freed.data_ptr() as u64
    };
    for address in [
        0,
        host.as_ptr() as u64,
        elsewhere.data_ptr() as u64,
        dropped,
        case.params.x + 16,
    ] {
        let params = BaselineParams {
            x: address,
            ..case.params
        };
        assert_eq!(
            driver.launch(case.function, &case.launch, &params),
            ILLEGAL_ADDRESS,
            "{address:x}"
        );
    }
}

#[test]
fn cuda_a_kernel_that_writes_outside_of_its_buffer_is_seen() {
    let Some((_turn, driver, _)) =
        emulated("cuda_a_kernel_that_writes_outside_of_its_buffer_is_seen")
    else {
        return;
    };
    let case = Case::new(&driver, 0);
    // the last element of a buffer of four as if it were the first
    let buffer = Tensor::ones([5], (Kind::Float, Device::Cuda(0)));
    let first = buffer.data_ptr() as u64;
    let mut params = BaselineParams {
        x: first + 16,
        diagonal: 1,
        ..case.params
    };
    params.channel = 0;
    let mut launch = case.launch;
    launch.grid = [1, 1, 1];
    assert_eq!(
        driver.launch(case.function, &launch, &params),
        ILLEGAL_ADDRESS
    );
    // the guard stays broken, which would end the process when the buffer is freed
    std::mem::forget(buffer);
}

#[test]
fn cuda_contexts_streams_and_functions_of_another_device_are_refused() {
    let Some((_turn, driver, _)) =
        emulated("cuda_contexts_streams_and_functions_of_another_device_are_refused")
    else {
        return;
    };
    let case = Case::new(&driver, 0);
    for stream in [
        null_mut(),
        driver.stream(1, 0),
        (&raw const case).cast_mut().cast(),
    ] {
        let launch = Launch {
            stream,
            ..case.launch
        };
        assert_eq!(
            driver.launch(case.function, &launch, &case.params),
            INVALID_HANDLE
        );
        assert_eq!(
            driver.memset_async(case.params.x, 0, 16, stream),
            INVALID_HANDLE
        );
    }
    assert_eq!(
        driver.memset_async(case.params.x, 0, 16, case.launch.stream),
        SUCCESS
    );
    assert_eq!(
        driver.memset_async(case.params.x, 0, 17, case.launch.stream),
        INVALID_VALUE
    );
    driver.enter(1);
    let launch = Launch {
        stream: driver.stream(1, 0),
        ..case.launch
    };
    assert_eq!(
        driver.launch(case.function, &launch, &case.params),
        INVALID_HANDLE,
        "loaded on the other one"
    );
    driver.enter(0);
    std::thread::scope(|scope| {
        let (driver, params, function) = (&driver, case.params, case.function as usize);
        let stream = case.launch.stream as usize;
        let (grid, block) = (case.launch.grid, case.launch.block);
        scope.spawn(move || {
            let launch = Launch {
                grid,
                block,
                shared_bytes: 0,
                stream: stream as *mut c_void,
            };
            assert_eq!(
                driver.launch(function as *mut c_void, &launch, &params),
                INVALID_CONTEXT
            );
        });
    });
}

#[test]
fn cuda_images_and_names_are_checked() {
    let Some((_turn, driver, _)) = emulated("cuda_images_and_names_are_checked") else {
        return;
    };
    driver.enter(0);
    assert_eq!(driver.function("no_such_kernel"), Err(NOT_FOUND));
    let mut module = null_mut();
    assert_eq!(
        driver.load_data(&mut module, [0u8; 64].as_ptr().cast()),
        INVALID_IMAGE
    );
    assert_eq!(
        driver.load_data(&mut module, IMAGE.0.as_ptr().cast()),
        SUCCESS
    );
    assert_eq!(driver.unload(module), SUCCESS);
    assert_eq!(driver.unload(module), INVALID_HANDLE);
    // the same image at an address where nvcc would never place it
    #[repr(align(8))]
    struct Moved([u8; 20]);
    let mut moved = Moved([0; 20]);
    moved.0[4..].copy_from_slice(&IMAGE.0);
    assert_eq!(
        driver.load_data(&mut module, moved.0[4..].as_ptr().cast()),
        INVALID_IMAGE
    );
}

#[test]
fn cuda_copies_stay_within_allocations() {
    let Some((_turn, driver, _)) = emulated("cuda_copies_stay_within_allocations") else {
        return;
    };
    driver.enter(0);
    let x = Tensor::zeros([4], (Kind::Float, Device::Cuda(0)));
    let (address, mut host) = (x.data_ptr() as u64, [1f32; 5]);
    assert_eq!(driver.upload(address, host.as_ptr().cast(), 16), SUCCESS);
    assert_eq!(
        driver.upload(address, host.as_ptr().cast(), 20),
        INVALID_VALUE
    );
    assert_eq!(
        driver.download(host.as_mut_ptr().cast(), address + 4, 16),
        INVALID_VALUE
    );
    assert_eq!(
        driver.download(x.data_ptr(), address, 16),
        INVALID_VALUE,
        "to the device"
    );
    assert_eq!(x.sum(Kind::Float).double_value(&[]), 4.0);
    driver.enter(1);
    assert_eq!(
        driver.upload(address, host.as_ptr().cast(), 16),
        INVALID_VALUE,
        "another device is current"
    );
    driver.enter(0);
}
