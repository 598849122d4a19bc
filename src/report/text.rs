//! Text of the report: escaping, numbers, figures and tables in HTML.
//!
//! Validated by `numbers_have_three_digits` and `ticks_are_round` below and by
//! `tests.rs`.

/// The text with the five characters that mean something to HTML replaced.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

/// `name (unit)`, or `name (dimensionless)`; not escaped.
pub(super) fn with_unit(name: &str, unit: &str) -> String {
    if unit.is_empty() { format!("{name} (dimensionless)") } else { format!("{name} ({unit})") }
}

/// ` unit` with the space in front, or nothing; not escaped.
pub(super) fn unit_after(unit: &str) -> String {
    if unit.is_empty() { String::new() } else { format!(" {unit}") }
}

/// The unit as a cell of a table, escaped; a dash where there is none.
pub(super) fn unit_cell(unit: &str) -> String {
    if unit.is_empty() { "–".into() } else { escape(unit) }
}

/// A number with three significant digits; a dash where it is not finite.
pub(super) fn number(x: f64) -> String {
    digits(x, 3)
}

/// A number with `n` significant digits; a dash where it is not finite.
pub(super) fn digits(x: f64, n: i32) -> String {
    if !x.is_finite() {
        return "–".into();
    }
    if x == 0.0 {
        return "0".into();
    }
    let exponent = x.abs().log10().floor() as i32;
    if (-4..6).contains(&exponent) {
        let decimals = (n - 1 - exponent).max(0) as usize;
        return minus(&format!("{x:.decimals$}"));
    }
    let decimals = (n - 1).max(0) as usize;
    let scientific = format!("{x:.decimals$e}");
    let (mantissa, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let raised: String = power.chars().map(superscript).collect();
    format!("{} × 10{raised}", minus(mantissa))
}

/// A number with `n` decimals; a dash where it is not finite.
pub(super) fn decimals(x: f64, n: usize) -> String {
    if x.is_finite() { minus(&format!("{x:.n$}")) } else { "–".into() }
}

fn superscript(c: char) -> char {
    match c {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        _ => c.to_digit(10).and_then(|d| char::from_u32(0x2070 + d)).unwrap_or(c),
    }
}

fn minus(text: &str) -> String {
    text.replace('-', "−")
}

/// A share in per cent without decimals, or a dash.
pub(super) fn per_cent(part: usize, whole: usize) -> String {
    if whole == 0 {
        "–".into()
    } else {
        format!("{:.0}\u{202f}%", 100.0 * part as f64 / whole as f64)
    }
}

/// `count` with its noun in the singular or plural.
pub(super) fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// The step of 1, 2 or 5 times a power of ten that cuts a range into about
/// `count` parts.
pub(super) fn tick_step(low: f64, high: f64, count: f64) -> f64 {
    let span = high - low;
    if !span.is_finite() || span <= 0.0 {
        return 1.0;
    }
    let raw = span / count;
    let power = 10f64.powf(raw.log10().floor());
    let lead = raw / power;
    power
        * if lead < 1.5 {
            1.0
        } else if lead < 3.5 {
            2.0
        } else if lead < 7.5 {
            5.0
        } else {
            10.0
        }
}

/// Round numbers of a range, with their text.
pub(super) fn ticks(low: f64, high: f64, count: f64) -> Vec<(f64, String)> {
    let step = tick_step(low, high, count);
    let first = (low / step - 1e-6).ceil() as i64;
    let last = (high / step + 1e-6).floor() as i64;
    if !low.is_finite() || !high.is_finite() || last.saturating_sub(first) > 50 {
        return Vec::new();
    }
    (first..=last).map(|k| k as f64 * step).map(|t| (t, tick_text(t, step))).collect()
}

/// A tick with as many decimals as its step needs.
pub(super) fn tick_text(tick: f64, step: f64) -> String {
    let tick = if tick.abs() < 1e-9 * step { 0.0 } else { tick };
    if tick.abs() >= 1e5 || (step < 1e-4 && tick != 0.0) {
        return digits(tick, 2);
    }
    let decimals = (-(step.log10() + 1e-9).floor()).clamp(0.0, 6.0) as usize;
    minus(&format!("{tick:.decimals$}"))
}

/// A figure: panels on a white card and a caption, both HTML already. The class
/// `beside` puts the caption to the right where there is room, `small` lets two
/// figures share a row.
pub(super) fn figure(class: &str, panels: &str, caption: &str) -> String {
    format!(
        "<figure class=\"{class}\"><div class=\"card\">{panels}</div><figcaption>{caption}</figcaption></figure>\n"
    )
}

/// One drawing with a heading (plain text) above; `class` sets its width.
pub(super) fn panel(class: &str, heading: &str, drawing: &str) -> String {
    let heading =
        if heading.is_empty() { String::new() } else { format!("<h4>{}</h4>", escape(heading)) };
    format!("<div class=\"panel {class}\">{heading}{drawing}</div>")
}

/// The sign of one entry of a key.
#[derive(Clone, Copy)]
pub(super) enum Mark {
    /// A filled square.
    Fill,
    /// A line.
    Line,
    /// A dashed line.
    Dash,
    /// A point.
    Point,
}

/// A key of coloured signs and plain text.
pub(super) fn key(entries: &[(Mark, &str, String)]) -> String {
    let mut out = String::from("<div class=\"key\">");
    for (mark, colour, text) in entries {
        let class = match mark {
            Mark::Fill => "fill",
            Mark::Line => "line",
            Mark::Dash => "dash",
            Mark::Point => "point",
        };
        out.push_str(&format!(
            "<span><i class=\"{class}\" style=\"color:{colour}\"></i>{}</span>",
            escape(text)
        ));
    }
    out.push_str("</div>");
    out
}

/// A table; the first column is text, the others are numbers. Cells are HTML.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut out = String::from("<div class=\"scroll\"><table><thead><tr>");
    for cell in head {
        out.push_str(&format!("<th scope=\"col\">{}</th>", escape(cell)));
    }
    out.push_str("</tr></thead><tbody>");
    for row in rows {
        out.push_str("<tr>");
        for (i, cell) in row.iter().enumerate() {
            let tag = if i == 0 { "th scope=\"row\"" } else { "td" };
            out.push_str(&format!("<{tag}>{cell}</{}>", if i == 0 { "th" } else { "td" }));
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!(number(0.012_345), "0.0123");
        assert_eq!(number(-1.5), "−1.50");
        assert_eq!(number(1234.6), "1235");
        assert_eq!(number(2.5e-7), "2.50 × 10⁻⁷");
        assert_eq!(number(f64::NAN), "–");
    }

    #[test]
    fn ticks_are_round() {
        let texts: Vec<String> = ticks(-0.13, 0.42, 5.0).into_iter().map(|(_, t)| t).collect();
        assert_eq!(texts, ["−0.1", "0.0", "0.1", "0.2", "0.3", "0.4"]);
        assert!(ticks(f64::NAN, 1.0, 5.0).is_empty());
    }

    #[test]
    fn markup_is_escaped() {
        assert_eq!(escape("a<b & \"c'"), "a&lt;b &amp; &quot;c&#39;");
    }
}
