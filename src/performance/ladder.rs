//! The ladder of the strided layer's kernels, v1 to v3, as pictures.

use super::measured::GpuTime;
use super::{ConvOperation, Counts, GpuModel, KernelCount, bound};
use crate::report::{Ladder, Rungs};

/// One value of a case.
struct Value<'a> {
    layer: &'a str,
    operation: &'a str,
    version: &'a str,
    value: f64,
}

/// What was counted: the bytes that lanes ask for, and the least time on an H100 if its caches held nothing, and if
/// they held all.
pub fn counted(kernels: &[KernelCount]) -> Ladder {
    let values = |of: &dyn Fn(&KernelCount) -> Option<f64>| -> Vec<Value<'_>> {
        let value = |k| Some((k, of(k)?));
        let values = kernels.iter().filter_map(value);
        values
            .map(|(k, value): (&KernelCount, f64)| Value {
                layer: &k.layer,
                operation: k.operation.name(),
                version: &k.version,
                value,
            })
            .collect()
    };
    let requested = values(&|k| Some(k.total().requested_bytes as f64 / 1e9));
    let without = values(&|k| least(k).map(|[nothing, _]| nothing * 1e6));
    let with = values(&|k| least(k).map(|[_, all]| all * 1e6));
    ladder(
        "What each version asks memory for, and the least time of that on an H100 (counted, from the datasheet)",
        &[
            ("requested, GB", &requested),
            ("us, if caches held nothing", &without),
            ("us, if caches held all", &with),
        ],
    )
}

/// The least seconds on an H100 if its caches held nothing, so that memory moves all that is requested, and if they
/// held all.
fn least(kernel: &KernelCount) -> Option<[f64; 2]> {
    let h100 = GpuModel::named("H100").expect("it is in the table");
    let total = kernel.total();
    let nothing = Counts {
        footprint_bytes: total.requested_bytes,
        ..total
    };
    let [nothing, all] = [nothing, total].map(|counts| bound(&counts, h100));
    Some([nothing?.seconds, all?.seconds])
}

/// The ladder of the first layer whose v3 runs on tensor cores, in sentences.
pub fn in_words(kernels: &[KernelCount]) -> String {
    let Some(best) = kernels.iter().find(|k| k.counts.tensor_flop > 0) else {
        return String::new();
    };
    let rungs = kernels
        .iter()
        .filter(|k| k.layer == best.layer && k.operation == best.operation);
    let told = rungs.filter_map(|k| {
        let [nothing, all] = least(k)?;
        Some(format!(
            "{} asks for {:.1} GB, which takes {:.2} ms if caches hold nothing and {:.2} ms if they hold all",
            k.version,
            k.total().requested_bytes as f64 / 1e9,
            nothing * 1e3,
            all * 1e3
        ))
    });
    format!(
        "So at {}, {}, on an H100: {}. What lies between the two times is what a version needs caches for.",
        best.layer,
        best.operation.name(),
        told.collect::<Vec<_>>().join("; ")
    )
}

/// What was measured on `device`: times, and the rate of useful operations.
pub fn measured(device: &str, times: &[GpuTime]) -> Ladder {
    let values = |of: &dyn Fn(&GpuTime) -> f64| -> Vec<Value<'_>> {
        let value = |k| (k, of(k));
        let values = times.iter().map(value);
        values
            .map(|(k, value): (&GpuTime, f64)| Value {
                layer: &k.layer,
                operation: &k.operation,
                version: &k.version,
                value,
            })
            .collect()
    };
    let micro = values(&|k| k.median_s * 1e6);
    let rate = values(&|k| k.useful_flop as f64 / k.median_s / 1e12);
    ladder(
        &format!("Times of each version on {device} (measured)"),
        &[("microseconds", &micro), ("useful TFLOP/s", &rate)],
    )
}

fn ladder(title: &str, quantities: &[(&str, &[Value<'_>])]) -> Ladder {
    let mut layers: Vec<String> = Vec::new();
    for value in quantities.iter().flat_map(|(_, values)| *values) {
        if !layers.iter().any(|layer| layer == value.layer) {
            layers.push(value.layer.to_owned());
        }
    }
    let line = |values: &[Value<'_>], layer: &str, operation: &str| {
        let of = |value: &&Value<'_>| value.layer == layer && value.operation == operation;
        let point = |value: &Value<'_>| {
            let version = value.version.trim_start_matches('v').parse().ok()?;
            Some((version, value.value))
        };
        values.iter().filter(of).filter_map(point).collect()
    };
    let row = |(quantity, values): &(&str, &[Value<'_>])| {
        let panel = |operation: ConvOperation| Rungs {
            name: operation.name().to_owned(),
            quantity: (*quantity).to_owned(),
            lines: layers
                .iter()
                .map(|layer| line(values, layer, operation.name()))
                .collect(),
        };
        ConvOperation::ALL.map(panel).to_vec()
    };
    Ladder {
        title: title.to_owned(),
        rows: quantities.iter().map(row).collect(),
        layers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_layer_has_a_line_in_the_panel_of_its_operation() {
        let value = |layer, operation, version, value| Value {
            layer,
            operation,
            version,
            value,
        };
        let values = [
            value("a", "fprop", "v1", 3.0),
            value("b", "wgrad", "v3", 1.0),
            value("a", "fprop", "v2", 2.0),
        ];
        let ladder = ladder("title", &[("bytes", &values)]);
        assert_eq!(ladder.layers, ["a", "b"]);
        let [fprop, dgrad, wgrad] = &ladder.rows[0][..] else {
            panic!("{ladder:?}");
        };
        assert_eq!(fprop.lines, [vec![(1, 3.0), (2, 2.0)], vec![]]);
        assert_eq!(dgrad.lines, [vec![], vec![]]);
        assert_eq!(wgrad.lines, [vec![], vec![(3, 1.0)]]);
    }
}
