//! Launches, waits and copies are counted as a card would have them.

use crate::bindings::{emulated, Counts};
use crate::process::again;
use tch::{Device, Kind, Tensor};

fn counts(launches: u64, waits: u64, uploads: u64, downloads: u64) -> Counts {
    Counts {
        launches,
        waits,
        uploads,
        downloads,
    }
}

#[test]
fn cuda_operators_copies_and_waits_are_counted() {
    let Some((_turn, driver, [device, second])) =
        emulated("cuda_operators_copies_and_waits_are_counted")
    else {
        return;
    };
    let x = Tensor::ones([4, 4], (Kind::Float, device));
    let y = x.copy();
    let on_cpu = Tensor::ones([4, 4], (Kind::Float, Device::Cpu));
    let pinned = on_cpu.pin_memory(device);
    let count = |what: &str, expected: Counts, work: &dyn Fn()| {
        assert_eq!(driver.count(work), expected, "{what}")
    };
    count("an operator", counts(1, 0, 0, 0), &|| drop(&x + &y));
    count("in place", counts(1, 0, 0, 0), &|| {
        drop(x.shallow_clone().f_mul_scalar_(1.0))
    });
    count("views", counts(0, 0, 0, 0), &|| {
        drop(x.view([2, 8]).transpose(0, 1).narrow(0, 1, 2).unsqueeze(0))
    });
    count("memory", counts(0, 0, 0, 0), &|| {
        drop(Tensor::empty([9], (Kind::Float, device)))
    });
    count("no elements", counts(0, 0, 0, 0), &|| {
        drop(x.narrow(0, 0, 0) + 1.0)
    });
    count("zeros", counts(1, 0, 0, 0), &|| {
        drop(Tensor::zeros([9], (Kind::Float, device)))
    });
    count("a number", counts(0, 1, 0, 1), &|| {
        assert_eq!(x.double_value(&[0, 0]), 1.0)
    });
    count("to the device", counts(0, 1, 1, 0), &|| {
        drop(on_cpu.to_device(device))
    });
    count("from the device", counts(0, 1, 0, 1), &|| {
        drop(x.to_device(Device::Cpu))
    });
    count("between devices", counts(1, 0, 0, 0), &|| {
        drop(x.to_device(second))
    });
    count("without waiting", counts(0, 0, 1, 0), &|| {
        drop(pinned.to_device_(device, Kind::Float, true, false))
    });
    count("without waiting, from pages", counts(0, 1, 1, 0), &|| {
        drop(on_cpu.to_device_(device, Kind::Float, true, false))
    });
    count("sizes that depend on numbers", counts(1, 1, 0, 0), &|| {
        drop(x.nonzero())
    });
    let mask = x.gt(0.0);
    // its places are found first, and the host waits for their number
    count("a mask", counts(2, 1, 0, 0), &|| {
        drop(x.index(&[Some(&mask)]))
    });
    let rows = Tensor::from_slice(&[0i64]);
    count("indices of the CPU", counts(1, 1, 1, 0), &|| {
        drop(x.index(&[Some(&rows)]))
    });
    count("synchronisation", counts(0, 1, 0, 0), &|| {
        tch::Cuda::synchronize(0)
    });
}

#[test]
fn cuda_the_report_is_written_when_a_process_ends() {
    let Some((_turn, ..)) = emulated("cuda_the_report_is_written_when_a_process_ends") else {
        return;
    };
    let folder = std::env::temp_dir().join(format!("emulated-gpu-report-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut child = again(
        module_path!(),
        "cuda_operators_copies_and_waits_are_counted",
    );
    let output = child
        .env("EMULATED_GPU_REPORT", folder.join("report-%p.json"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let [file] = files.as_slice() else {
        panic!("{files:?}");
    };
    let report: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(report["operators"]["aten::nonzero"], 2, "{report}");
    for key in ["launches", "waits", "uploads", "downloads", "peak_bytes"] {
        assert!(report[key].as_u64().unwrap() > 0, "{key}: {report}");
    }
    assert!(report["kernels"].is_object(), "{report}");
}
