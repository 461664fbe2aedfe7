//! Numbers and places in words.

use super::evaluation::{Axis, StatisticResult};

/// `a, b and c`.
pub fn list(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// `bins` in words, as ranges of the axis.
pub fn ranges(result: &StatisticResult, bins: &[usize]) -> String {
    if result.axis == Axis::Name {
        let names = bins.iter().filter_map(|&bin| result.names.get(bin));
        let names: Vec<&str> = names.map(String::as_str).collect();
        return format!("in {}", list(&names));
    }
    let open: Vec<usize> = (0..result.bins.len())
        .filter(|&bin| !result.bins[bin].empty)
        .collect();
    let place = |bin: &usize| open.iter().position(|other| other == bin);
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for place in bins.iter().filter_map(place) {
        match runs.last_mut() {
            // One bin that does not differ is no end.
            Some((_, end)) if place <= *end + 2 => *end = place,
            _ => runs.push((place, place)),
        }
    }
    let symbol = match result.axis {
        Axis::Multipole => "\u{2113}",
        _ => "\u{3bd}",
    };
    let number = |value: f64| match result.axis {
        Axis::Multipole => thousands(value),
        _ => format!("{:.1}", value + 0.0)
            .replace("-0.0", "0.0")
            .replace('-', "\u{2212}"),
    };
    let last = open.len().saturating_sub(1);
    if runs.len() > 3 {
        return format!(
            "at {} of {} bins scattered over all {symbol}",
            bins.len(),
            open.len()
        );
    }
    let words: Vec<String> = runs
        .into_iter()
        .map(|(from, to)| {
            let (low, high) = (result.bins[open[from]].low, result.bins[open[to]].high);
            match (from == 0, to == last) {
                (true, true) => format!("at all {symbol}"),
                (true, false) => format!("at {symbol} < {}", number(high)),
                (false, true) => format!("at {symbol} > {}", number(low)),
                (false, false) => format!("at {} < {symbol} < {}", number(low), number(high)),
            }
        })
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    list(&words)
}

/// A multipole to three digits, thousands apart.
pub fn thousands(value: f64) -> String {
    let unit = 10_f64
        .powf((value.abs().max(1.0)).log10().floor() - 2.0)
        .max(1.0);
    let whole = ((value / unit).round() * unit) as i64;
    let digits = whole.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) && digit != '-' {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A p-value in words' precision.
pub fn p_value(p: f64) -> String {
    if p < 0.001 {
        "< 0.001".to_owned()
    } else {
        format!("{p:.3}")
    }
}

/// A title of what is spoken of: without its article, with a capital letter.
pub fn capital(text: &str) -> String {
    let text = text.strip_prefix("the ").unwrap_or(text);
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}
