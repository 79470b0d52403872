//! Names for files that hold no weights that are read here, each with what helps.

use super::Problem;

/// What a file is called that begins with these bytes, and what to do.
const BEGINNINGS: [(&[u8], &str); 16] = [
    (b"version https://git-lfs", "is a pointer of Git LFS in place of the file: fetch the file with `git lfs pull`"),
    (b"version https://hawser", "is a pointer of Git LFS in place of the file: fetch the file with `git lfs pull`"),
    (b"/annex/objects/", "is a pointer of git-annex in place of the file: fetch the file with `git annex get`"),
    (b"\x1f\x8b", "is compressed by gzip: unpack it first, `gunzip FILE` or, for a .tar.gz or .tgz, `tar xzf FILE`"),
    (b"BZh", "is compressed by bzip2: unpack it first, `bunzip2 FILE`"),
    (b"\xfd7zXZ\0", "is compressed by xz: unpack it first, `unxz FILE`"),
    (b"\x28\xb5\x2f\xfd", "is compressed by zstd: unpack it first, `unzstd FILE`"),
    (b"7z\xbc\xaf\x27\x1c", "is a 7z archive: unpack it first, `7z x FILE`"),
    (b"Rar!\x1a\x07", "is a RAR archive: unpack it first, `unrar x FILE`"),
    (b"\x89HDF\r\n\x1a\n", "is an HDF5 file, as Keras and h5py write: read it there, and save a dictionary of tensors with torch.save(DICTIONARY, FILE)"),
    (b"\x93NUMPY", "is a NumPy array without a name: save a dictionary of tensors with torch.save(DICTIONARY, FILE); images are read by `inverse-flow data inspect FILE`"),
    (b"GGUF", "is a GGUF file of a language model, which has no flow in it"),
    (b"\x89PNG", "is a picture: `inverse-flow encode RUN FILE` and `--data` take pictures"),
    (b"\xff\xd8\xff", "is a picture: `inverse-flow encode RUN FILE` and `--data` take pictures"),
    (b"\x7fELF", "is a program or a library"),
    (b"%PDF", "is a PDF document"),
];

/// Names of the parts of PyTorch's very first format, an archive of tar.
const TAR_PARTS: [&[u8]; 4] = [b"sys_info\0", b"pickle\0", b"storages\0", b"tensors\0"];

/// What the file is that begins with `head`, and what helps.
pub(super) fn name(head: &[u8]) -> Problem {
    if head.is_empty() {
        return "is empty: its writing or download did not finish; copy or download it again"
            .into();
    }
    let known = BEGINNINGS.iter().find(|(begin, _)| head.starts_with(begin));
    if let Some((_, what)) = known {
        return (*what).into();
    }
    if head.get(257..262) == Some(b"ustar") {
        return tar(head);
    }
    if head.iter().all(|&byte| byte == 0) {
        return "begins with zeros alone: its writing or download did not finish; copy or download it again".into();
    }
    let text = String::from_utf8_lossy(head).to_lowercase();
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let begins = |with: &[&str]| with.iter().any(|with| text.starts_with(with));
    if begins(&["<!doctype html", "<html", "<head", "<!--"]) {
        return "is a web page and not a file of weights: the download gave the page around the file, or a login or an error; use the link of the file itself (`curl -L -O URL`, on Hugging Face with /resolve/ in place of /blob/)".into();
    }
    if begins(&["<?xml", "<error"]) {
        return "is an XML text, as servers answer when a download is refused: download the file again".into();
    }
    if begins(&["{", "["]) {
        return if text.contains("weight_map") {
            "is the index of weights in several files: put them together, torch.save(DICTIONARY, FILE), and read that".into()
        } else {
            "is a JSON text and not a file of weights: a configuration is given by --config, and weights lie in another file".into()
        };
    }
    // protocol buffers: version of the format, then the producer's name
    if head[0] == 8
        && matches!(head.get(2), Some(0x12 | 0x3a | 0x42))
        && head.get(1).is_some_and(|&version| version < 32)
    {
        return "looks like an ONNX file: its weights are read from the PyTorch model that it was made of, torch.save(model.state_dict(), FILE)".into();
    }
    "is neither safetensors nor an archive of PyTorch or tch, or its beginning is damaged: use another copy".into()
}

fn tar(head: &[u8]) -> Problem {
    if TAR_PARTS.iter().any(|part| head.starts_with(part)) {
        "is of PyTorch's first format, an archive of tar from its versions 0.1, which is not read: load it in PyTorch and save it again, torch.save(torch.load(FILE, weights_only=False), OUT)".into()
    } else {
        "is a tar archive, which may have files of weights inside: unpack it first, `tar xf FILE`"
            .into()
    }
}
