//! The current device: that of libtorch and of the driver are one; streams and events belong to a device.

use crate::bindings::{emulated, INVALID_CONTEXT, INVALID_DEVICE, INVALID_HANDLE, SUCCESS};
use std::ptr::null_mut;
use tch::{Kind, Tensor};

#[test]
fn cuda_tensors_are_made_where_they_were_asked_for_and_the_current_device_stays() {
    let Some((_turn, driver, [first, second])) =
        emulated("cuda_tensors_are_made_where_they_were_asked_for_and_the_current_device_stays")
    else {
        return;
    };
    for current in [0, 1] {
        driver.enter(current);
        for device in [first, second] {
            let x = Tensor::randn([3], (Kind::Float, device));
            let y = (&x * 2.0).exp().to_device(first);
            assert_eq!((x.device(), y.device()), (device, first));
            assert_eq!(driver.current_device(), current);
        }
    }
    driver.enter(0);
}

#[test]
fn cuda_backward_runs_on_the_device_of_its_tensors() {
    let Some((_turn, driver, devices)) =
        emulated("cuda_backward_runs_on_the_device_of_its_tensors")
    else {
        return;
    };
    driver.enter(0);
    for device in devices {
        let x = Tensor::randn([3], (Kind::Float, device)).set_requires_grad(true);
        x.exp().sum(Kind::Float).backward();
        assert_eq!(x.grad().device(), device);
        assert_eq!(driver.current_device(), 0);
    }
}

#[test]
fn cuda_a_thread_begins_without_a_context() {
    let Some((_turn, driver, _)) = emulated("cuda_a_thread_begins_without_a_context") else {
        return;
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert_eq!(driver.synchronize(), INVALID_CONTEXT);
            assert_eq!(driver.current_device(), 0);
            driver.enter(1);
            assert_eq!(driver.current_device(), 1);
            assert_eq!(driver.synchronize(), SUCCESS);
        });
    });
}

#[test]
fn cuda_there_are_two_devices() {
    let Some((_turn, driver, _)) = emulated("cuda_there_are_two_devices") else {
        return;
    };
    assert_eq!(tch::Cuda::device_count(), 2);
    let mut device = -1;
    assert_eq!(driver.device_get(&mut device, 1), SUCCESS);
    assert_eq!(driver.device_get(&mut device, 2), INVALID_DEVICE);
}

#[test]
fn cuda_events_and_streams_belong_to_a_device() {
    let Some((_turn, driver, _)) = emulated("cuda_events_and_streams_belong_to_a_device") else {
        return;
    };
    driver.enter(0);
    let (mut begin, mut end) = (null_mut(), null_mut());
    assert_eq!(driver.event_create(&mut begin, 0), SUCCESS);
    assert_eq!(driver.event_create(&mut end, 0), SUCCESS);
    let (here, there) = (driver.stream(0, 0), driver.stream(1, 0));
    let mut time = -1.0;
    assert_eq!(
        driver.event_elapsed(&mut time, begin, end),
        INVALID_HANDLE,
        "not recorded"
    );
    assert_eq!(
        driver.event_record(begin, there),
        INVALID_HANDLE,
        "a stream of another device"
    );
    assert_eq!(
        driver.event_record(begin, null_mut()),
        INVALID_HANDLE,
        "stream 0"
    );
    for event in [begin, end] {
        assert_eq!(driver.event_record(event, here), SUCCESS);
        assert_eq!(driver.event_query(event), SUCCESS);
    }
    assert_eq!(driver.event_elapsed(&mut time, begin, end), SUCCESS);
    assert!(time >= 0.0);
    let mut own = null_mut();
    assert_eq!(driver.stream_create(&mut own, 1), SUCCESS);
    assert_eq!(driver.wait_event(own, end, 0), SUCCESS);
    assert_eq!(driver.stream_synchronize(own), SUCCESS);
    assert_eq!(driver.stream_destroy(own), SUCCESS);
    assert_eq!(driver.stream_synchronize(own), INVALID_HANDLE, "destroyed");
    driver.enter(1);
    assert_eq!(
        driver.event_record(begin, there),
        INVALID_HANDLE,
        "an event of another device"
    );
    driver.enter(0);
    for event in [begin, end] {
        assert_eq!(driver.event_destroy(event), SUCCESS);
        assert_eq!(driver.event_synchronize(event), INVALID_HANDLE, "destroyed");
    }
}
