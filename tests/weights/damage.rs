//! Hostile files, the same in every run.

use crate::archive::{pack, unpack};
use crate::damaged_bytes::{damage, Rng};

/// Archives with a damaged pickle under a right checksum, and with pickles that try to do harm; `marker` is the file
/// that they would leave.
pub fn hostile_archives(whole: &[u8], count: usize, marker: &str, rng: &mut Rng) -> Vec<Vec<u8>> {
    let entries = unpack(whole);
    let at = entries
        .iter()
        .position(|(name, _)| name.ends_with("data.pkl"));
    let at = at.unwrap();
    let with = |pickle: Vec<u8>| {
        let mut entries = entries.clone();
        entries[at].1 = pickle;
        pack(&entries)
    };
    hostile(&entries[at].1, with, count, marker, rng)
}

/// The same for a file from before PyTorch 1.6: its fourth pickle is the object.
pub fn hostile_legacy(whole: &[u8], count: usize, marker: &str, rng: &mut Rng) -> Vec<Vec<u8>> {
    let starts = |from: usize| {
        let mut pairs = whole[from..].windows(2);
        from + pairs.position(|pair| pair == b"\x80\x02").unwrap()
    };
    let mut at = 0;
    for _ in 0..3 {
        at = starts(at + 2);
    }
    let end = starts(at + 2);
    let with = |pickle: Vec<u8>| [&whole[..at], &pickle, &whole[end..]].concat();
    hostile(&whole[at..end], with, count, marker, rng)
}

/// Files with damaged and hostile pickles in the place of `pickle`.
fn hostile(
    pickle: &[u8],
    with: impl Fn(Vec<u8>) -> Vec<u8>,
    count: usize,
    marker: &str,
    rng: &mut Rng,
) -> Vec<Vec<u8>> {
    let mut files: Vec<_> = damage(pickle, count, rng).into_iter().map(&with).collect();
    files.extend(hostile_pickles(marker).into_iter().map(&with));
    // the harm beside the tensors, as a first and as a last item
    for call in calls(marker) {
        let item = [b"X\x04\x00\x00\x00evil", &call[..], b"s"].concat();
        let body = pickle.strip_suffix(b".").unwrap();
        files.push(with([body, &item, b"."].concat()));
        files.push(with([&pickle[..2], &call, b"0", &pickle[2..]].concat()));
    }
    files
}

/// Pickle code that leaves the result of a call on the stack: processes, evaluation, imports, files.
fn calls(marker: &str) -> Vec<Vec<u8>> {
    let text = |text: &str| {
        let mut code = b"X".to_vec();
        code.extend((text.len() as u32).to_le_bytes());
        code.extend(text.as_bytes());
        code
    };
    let touch = format!("touch {marker}");
    let open = format!("open({marker:?}, 'w')");
    let one = |global: &str, argument: &str| {
        [format!("c{global}\n").as_bytes(), &text(argument), b"\x85R"].concat()
    };
    let mut calls = vec![
        one("os\nsystem", &touch),
        one("posix\nsystem", &touch),
        one("subprocess\ngetoutput", &touch),
        one("builtins\neval", &open),
        one("builtins\nexec", &open),
        one("__builtin__\neval", &open),
        one("runpy\nrun_path", marker),
        one("torch\nload", marker),
        one("torch.hub\nload", marker),
        one("torch.storage\n_load_from_bytes", marker),
        one("torch._utils\n_rebuild_parameter\n", marker),
        one("__torch__\nsystem", &touch),
    ];
    // the name from the stack, a class, a state
    calls.push(
        [
            &text("os")[..],
            &text("system"),
            b"\x93",
            &text(&touch),
            b"\x85R",
        ]
        .concat(),
    );
    calls.push([b"cos\nsystem\n", &text(&touch)[..], b"\x85\x81}b"].concat());
    calls.push(
        [
            b"cbuiltins\ngetattr\ncos\nsystem\n",
            &text("x")[..],
            b"\x86R)R",
        ]
        .concat(),
    );
    calls
}

fn hostile_pickles(marker: &str) -> Vec<Vec<u8>> {
    let start = b"\x80\x02";
    let whole = |body: &[u8]| [start, body, b"."].concat();
    let many = |code: &[u8], times: usize| code.repeat(times);
    let tensor = |storage: &[u8], view: &[u8]| {
        let code: [&[u8]; 7] = [
            b"}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n",
            storage,
            b"tQ",
            view,
            b"\x89}tRs",
            b"",
            b"",
        ];
        whole(&code.concat())
    };
    let fine: &[u8] = b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04";
    let huge: &[u8] = b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f";
    let negative: &[u8] = b"\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80";
    let view = |offset: &[u8], size: &[u8], stride: &[u8]| {
        [offset, size, b"\x85", stride, b"\x85"].concat()
    };
    let key = |key: &str, numbers: &[u8]| {
        let length = (key.len() as u32).to_le_bytes();
        [
            b"X",
            &length[..],
            key.as_bytes(),
            b"X\x03\x00\x00\x00cpu",
            numbers,
        ]
        .concat()
    };
    let mut pickles: Vec<Vec<u8>> = calls(marker).iter().map(|call| whole(call)).collect();
    pickles.extend([
        // protocol 0, as exploits are usually written
        format!("cos\nsystem\n(S'touch {marker}'\ntR.").into_bytes(),
        format!("(S'touch {marker}'\nios\nsystem\n.").into_bytes(),
        // floods and pits
        whole(&many(b"]", 3 << 20)),
        whole(&many(b"}", 3 << 20)),
        whole(&many(b"(", 3 << 20)),
        whole(&many(b"N", 8 << 20)),
        whole(&many(b"N", 6 << 20)),
        whole(&[&b"]"[..], &many(b"]a", 1 << 20)].concat()),
        whole(&[&b")"[..], &many(b"\x85", 2 << 20)].concat()),
        whole(&[&b"]q\x00"[..], &many(b"h\x00a", 2 << 20)].concat()),
        whole(
            &[
                &b"("[..],
                &many(b"K\x01", 1 << 19),
                b"tq\x00",
                &many(b"h\x00", 1 << 19),
            ]
            .concat(),
        ),
        whole(
            &[
                &b"]q\x00("[..],
                &many(b"h\x00", 900_000),
                b"e(",
                &many(b"h\x00", 900_000),
                b"e(",
                &many(b"h\x00", 900_000),
                b"e",
            ]
            .concat(),
        ),
        whole(&many(b"X\x00\x00\x00\x00", 1 << 20)),
        whole(&many(b"M\x00\x01", 2 << 20)),
        whole(&many(b"ca\nb\n", 1 << 20)),
        whole(b"]r\xff\xff\xff\xff"),
        whole(b"]r\xff\xff\x0f\x00"),
        whole(b"j\xff\xff\xff\xff"),
        whole(b"X\xff\xff\xff\xff"),
        whole(b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff"),
        whole(b"\x8b\xff\xff\xff\xff"),
        whole(b"\x96\xff\xff\xff\xff\xff\xff\xff\x7f"),
        whole(b"X\x02\x00\x00\x00\xff\xfe"),
        whole(b"c\xff\xfe\n\xff\n"),
        // wrong types
        whole(b""),
        whole(b"0"),
        whole(b"N)R"),
        whole(b"NN\x86Q"),
        whole(b"NQ"),
        whole(b"K\x01K\x02s"),
        whole(b"]K\x01K\x02s"),
        whole(b"}K\x01a"),
        whole(b"}(K\x01u"),
        whole(b"}NNs"),
        whole(b"(0"),
        whole(b"(NNR"),
        whole(b"Nb"),
        whole(b"}q\x00h\x00h\x00s"),
        whole(b"ctorch\nSize\n)R"),
        whole(b"c__torch__\nM\n)\x81"),
        whole(b"c__torch__\nM\n)\x81Nb"),
        whole(b"c__torch__\nM\n)\x81}NNsb"),
        whole(b"c__torch__\nM\n)\x81q\x00}X\x01\x00\x00\x00ah\x00sb"),
        b"\x80\x02".to_vec(),
        b"\x80\x09.".to_vec(),
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xff.".to_vec(),
        // tensors that are not there
        tensor(fine, &view(b"K\x00", b"K\x04", b"K\x01")),
        tensor(fine, &view(b"K\x00", huge, b"K\x00")),
        tensor(fine, &view(b"K\x00", huge, b"K\x01")),
        tensor(fine, &view(b"K\x00", huge, huge)),
        tensor(fine, &view(huge, b"K\x01", b"K\x01")),
        tensor(fine, &view(negative, b"K\x01", b"K\x01")),
        tensor(fine, &view(b"K\x00", negative, b"K\x01")),
        tensor(fine, &view(b"K\x00", b"K\x04", negative)),
        tensor(
            fine,
            &[b"K\x00(", &many(b"K\x01", 5000)[..], b"t)"].concat(),
        ),
        tensor(fine, b"K\x00NN"),
        tensor(fine, b"N))"),
        tensor(&key("0", huge), &view(b"K\x00", huge, b"K\x01")),
        tensor(&key("0", negative), &view(b"K\x00", b"K\x04", b"K\x01")),
        tensor(&key("0", b"N"), &view(b"K\x00", b"K\x04", b"K\x01")),
        tensor(&key("99", b"K\x04"), &view(b"K\x00", b"K\x04", b"K\x01")),
        tensor(
            &key("../../../../etc/passwd", b"K\x04"),
            &view(b"K\x00", b"K\x04", b"K\x01"),
        ),
        tensor(
            &key("../version", b"K\x04"),
            &view(b"K\x00", b"K\x04", b"K\x01"),
        ),
        laughs(),
    ]);
    pickles
}

/// Modules that each hold the next one many times: more names than there are atoms.
fn laughs() -> Vec<u8> {
    let mut code = b"\x80\x02".to_vec();
    for level in 0..40_u8 {
        code.extend(b"c__torch__\nM\n)\x81}(");
        for name in b'a'..b'k' {
            code.extend([b'X', 1, 0, 0, 0, name]);
            match level {
                0 => code.push(b'N'),
                _ => code.extend([b'h', level - 1]),
            }
        }
        code.extend([b'u', b'b', b'q', level]);
    }
    code.push(b'.');
    code
}

/// Headers that lie, with their right length.
pub fn hostile_headers() -> Vec<Vec<u8>> {
    let file = |json: &str, data: usize| {
        let length = (json.len() as u64).to_le_bytes();
        [&length, json.as_bytes(), &vec![0; data]].concat()
    };
    let tensor = |dtype: &str, shape: &str, offsets: &str| {
        format!(
            r#"{{"first.bias":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#
        )
    };
    let mut files = vec![
        file("{}", 0),
        file("{", 0),
        file("{}", 9),
        file("{\"a\":1}", 0),
        file("{\"__metadata__\":{\"format\":1}}", 0),
        file(
            "{\"__metadata__\":{\"format\":\"inverse-flow checkpoint 9\"}}",
            0,
        ),
        file(
            &format!("{{\"a\":{}1{}}}", "[".repeat(200_000), "]".repeat(200_000)),
            0,
        ),
        file(
            &format!("{{\"__metadata__\":{{\"a\":\"{}\"}}}}", "x".repeat(7 << 20)),
            0,
        ),
        file(
            &format!("{{\"__metadata__\":{{\"a\":\"{}\"}}}}", "x".repeat(9 << 20)),
            0,
        ),
        file(&format!("{{{}}}", " ".repeat(8_000_000)), 0),
    ];
    for (dtype, shape, offsets) in [
        ("F32", "[5]", "[0,20]"),
        ("F32", "[5]", "[0,9223372036854775807]"),
        ("F32", "[5]", "[20,0]"),
        ("F32", "[5]", "[-1,20]"),
        ("F32", "[9223372036854775807]", "[0,20]"),
        ("F32", "[18446744073709551615,0]", "[0,0]"),
        ("F32", "[4294967296,4294967296]", "[0,20]"),
        ("F32", "[5.5]", "[0,20]"),
        ("F32", "[-5]", "[0,20]"),
        ("F32", "\"5\"", "[0,20]"),
        ("F64", "[5]", "[0,20]"),
        ("F99", "[5]", "[0,20]"),
        ("F8_E4M3", "[20]", "[0,20]"),
        ("BOOL", "[20]", "[0,20]"),
        ("F32", "[5]", "[0]"),
        ("F32", "[5]", "[0,20,40]"),
        ("F32", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,5]", "[0,20]"),
    ] {
        files.push(file(&tensor(dtype, shape, offsets), 20));
    }
    let many: Vec<_> = (0..80_000)
        .map(|i| format!("\"{i}\":{{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}"))
        .collect();
    files.push(file(&format!("{{{}}}", many.join(",")), 0));
    let many: Vec<_> = (0..500_000).map(|i| format!("\"{i}\":\"\"")).collect();
    files.push(file(
        &format!("{{\"__metadata__\":{{{}}}}}", many.join(",")),
        0,
    ));
    let ones = "1,".repeat(3_000_000);
    files.push(file(&tensor("F32", &format!("[{ones}5]"), "[0,20]"), 20));
    files
}
