//! `report.html`: the report with its pictures in one file that needs nothing else, well-formed as XML too.

use super::report::TableReport;
use super::sections::sections;
use super::words::{facts, row_text};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

const STYLE: &str = "
body { font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 1180px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 2em; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; }
th, td { border-bottom: 1px solid #ddd; padding: .25em .6em; text-align: left; vertical-align: top; }
th { background: #f4f4f4; position: sticky; top: 0; }
td:nth-child(n+3) { font-variant-numeric: tabular-nums; }
.agrees, .better { color: #00734f; } .worse, .failed, .differs { color: #a33d00; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(440px, 1fr)); gap: 1em; }
.plots svg { width: 100%; height: auto; }
figure { margin: 0; } figcaption { font-size: 13px; color: #555; }
.samples { display: flex; flex-wrap: wrap; gap: 1em; } .samples img { image-rendering: pixelated; max-width: 340px; }
";

/// The page of a report, with the pictures that are in `DIR/plots` inside it.
///
/// # Errors
/// A picture cannot be read.
pub fn html(report: &TableReport, dir: &Path) -> Result<String> {
    let (charts, samples) = pictures(&dir.join("plots"))?;
    let title = escaped(&report.title);
    let mut page = format!(
        "<!DOCTYPE html>\n<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n<ul>\n"
    );
    for (name, value) in facts(report) {
        page += &format!("<li>{}: {}</li>\n", escaped(&name), escaped(&value));
    }
    page += "</ul>\n<div class=\"plots\">\n";
    for path in &charts {
        page += &format!("<figure>\n{}\n</figure>\n", inline_svg(path)?);
    }
    page += "</div>\n";
    for section in sections(report) {
        page += &format!("<h2>{}</h2>\n", escaped(section.title));
        if !section.text.is_empty() {
            page += &format!("<p>{}</p>\n", escaped(section.text));
        }
        page += &table(&section.headings, &section.lines, section.marked);
    }
    if !samples.is_empty() {
        page += "<h2>Samples of the first seeds</h2>\n<div class=\"samples\">\n";
        for path in &samples {
            page += &sample(path)?;
        }
        page += "</div>\n";
    }
    page += "<h2>Known inconsistencies of the printed table</h2>\n<ul>\n";
    for line in &report.inconsistencies {
        page += &format!("<li>{}</li>\n", escaped(line));
    }
    page += "</ul>\n<h2>Notes on the rows</h2>\n<ul>\n";
    for row in &report.rows {
        page += &format!("<li>{}", escaped(&row_text(row)));
        if !row.notes.is_empty() {
            let notes = row
                .notes
                .iter()
                .map(|note| format!("<li>{}</li>", escaped(note)));
            page += &format!("<ul>{}</ul>", notes.collect::<String>());
        }
        page += "</li>\n";
    }
    page += "</ul>\n</body>\n</html>\n";
    Ok(page)
}

/// Charts and sample grids of a folder by name; none if it is not there.
fn pictures(plots: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    if !plots.exists() {
        return Ok((Vec::new(), Vec::new()));
    }
    let entries = std::fs::read_dir(plots).map_err(|err| Error::file(plots, err))?;
    let mut all: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    all.sort();
    let name = |path: &PathBuf| {
        path.file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    let charts = all
        .iter()
        .filter(|path| name(path).ends_with(".svg"))
        .cloned();
    let samples = all.iter().filter(|path| name(path).starts_with("samples-"));
    Ok((charts.collect(), samples.cloned().collect()))
}

/// An SVG file as an element of the page.
fn inline_svg(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path).map_err(|err| Error::file(path, err))?;
    let start = text.find("<svg").unwrap_or(0);
    Ok(text[start..].trim_end().to_owned())
}

fn sample(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(|err| Error::file(path, err))?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = escaped(name.strip_prefix("samples-").unwrap_or(&name));
    Ok(format!(
        "<figure><img alt=\"samples of {name}\" src=\"data:image/png;base64,{}\"/><figcaption>{name}</figcaption></figure>\n",
        base64(&bytes)
    ))
}

/// A table; the cells of column `marked` carry their text as a class.
fn table(headings: &[&str], lines: &[Vec<String>], marked: Option<usize>) -> String {
    let headings = headings.iter().map(|h| format!("<th>{}</th>", escaped(h)));
    let mut text = format!(
        "<div class=\"scroll\"><table>\n<thead><tr>{}</tr></thead>\n<tbody>\n",
        headings.collect::<String>()
    );
    for line in lines {
        let cells = line.iter().enumerate().map(|(i, cell)| {
            let cell = escaped(cell);
            match marked {
                Some(column) if column == i => format!("<td class=\"{cell}\">{cell}</td>"),
                _ => format!("<td>{cell}</td>"),
            }
        });
        text += &format!("<tr>{}</tr>\n", cells.collect::<String>());
    }
    text + "</tbody>\n</table></div>\n"
}

/// Text as the content of an element or attribute; characters that XML cannot hold are left out.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            c if c < ' ' && !matches!(c, '\n' | '\t') => {}
            c => safe.push(c),
        }
    }
    safe
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = (0..3).fold(0u32, |word, i| {
            word << 8 | u32::from(chunk.get(i).copied().unwrap_or(0))
        });
        for i in 0..4 {
            match i <= chunk.len() {
                true => text.push(char::from(DIGITS[(word >> (18 - 6 * i)) as usize & 63])),
                false => text.push('='),
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_has_the_published_vectors() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn markup_in_a_text_stays_text() {
        assert_eq!(escaped("a<b & \"c\"\u{1}"), "a&lt;b &amp; &quot;c&quot;");
    }
}
