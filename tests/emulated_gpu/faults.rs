//! Accesses that end a process: each in one of its own.

use crate::bindings::emulated;
use crate::process::again;
use tch::{Kind, Tensor};

/// Set in the process that is to die.
const DIES: &str = "EMULATED_GPU_TEST_DIES";

/// Runs `test` once more with `DIES` set, and returns what it says before it dies; nothing in that process itself.
fn last_words(test: &str) -> Option<String> {
    if std::env::var_os(DIES).is_some() {
        return None;
    }
    let output = again(module_path!(), test).env(DIES, "1").output().unwrap();
    assert!(!output.status.success(), "it lives: {output:?}");
    Some(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn cuda_a_host_that_reads_device_memory_is_told() {
    let Some((_turn, _, [device, _])) = emulated("cuda_a_host_that_reads_device_memory_is_told")
    else {
        return;
    };
    if let Some(words) = last_words("cuda_a_host_that_reads_device_memory_is_told") {
        assert!(words.contains("the host accesses device memory"), "{words}");
        return;
    }
    let x = Tensor::ones([4], (Kind::Float, device));
    // SAFETY: none: this is what must not be done, and ends the process.
    let value = unsafe { x.data_ptr().cast::<f32>().read_volatile() };
    println!("{value}");
}

#[test]
fn cuda_a_write_outside_of_an_allocation_is_seen_when_it_is_freed() {
    let Some((_turn, _, [device, _])) =
        emulated("cuda_a_write_outside_of_an_allocation_is_seen_when_it_is_freed")
    else {
        return;
    };
    if let Some(words) =
        last_words("cuda_a_write_outside_of_an_allocation_is_seen_when_it_is_freed")
    {
        assert!(
            words.contains("wrote outside of an allocation of 16 bytes"),
            "{words}"
        );
        return;
    }
    let x = Tensor::ones([4], (Kind::Float, device));
    let host = (x.data_ptr() as u64 & 0xffff_ffff_ffff) as *mut f32;
    // SAFETY: within the guard after the allocation, which is memory of this process.
    unsafe { host.add(4).write(1.0) };
    drop(x);
}
