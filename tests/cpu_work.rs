//! What a step does on the CPU, layer by layer and pass by pass: operations of matrix products and bytes that
//! the passes around them move. Counts follow from shapes alone and are compared with committed ones to the
//! unit, so that a pass too many, or products that need not be made, fail by name.
//!
//! `COSMOGAN_WRITE_BASELINE=1` writes the table anew. All in one test: the counters are the process's.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cosmogan::backend::cpu::meter::Meter;
use cosmogan::backend::{
    Adam, Backend, BackendError, Backward, Cpu, CropPlace, Forward, Loss, Posted, Precision,
    ProgramId, StepScalars, Targets, View,
};
use cosmogan::model::{Block, Preset};
use cosmogan::performance::cpu::{CpuPart, Measured, parts, parts_on};
use cosmogan::rng::Stream;
use cosmogan::train::{Config, Convention};

const BATCH: usize = 4;

fn config() -> Config {
    let mut config = Config::of_preset(Preset::Paper64, Some(Convention::Paper));
    config.run.batch = BATCH;
    config
}

fn baseline() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/baseline/cpu-paper-64.csv")
}

/// Layer and part, then operations and bytes.
type Counted = BTreeMap<(String, String), [u64; 2]>;

fn counted(parts: &[CpuPart]) -> Counted {
    let of = |part: &CpuPart| {
        let name = (part.layer.clone(), part.part.clone());
        (name, [part.product_flop, part.moved_bytes])
    };
    parts.iter().map(of).collect()
}

fn csv(counted: &Counted) -> String {
    let mut text = "layer,part,product_flop,moved_bytes\n".to_owned();
    for ((layer, part), [flop, bytes]) in counted {
        text += &format!("{layer},{part},{flop},{bytes}\n");
    }
    text
}

fn parse(text: &str) -> Counted {
    let rows = text.lines().skip(1).map(|line| {
        let cells: Vec<_> = line.split(',').collect();
        let [layer, part, flop, bytes] = cells[..] else {
            panic!("{line} is no row");
        };
        let name = (layer.to_owned(), part.to_owned());
        (name, [flop, bytes].map(|cell| cell.parse().unwrap()))
    });
    rows.collect()
}

/// What is not as it was committed, in words.
fn moved(committed: &Counted, now: &Counted) -> Vec<String> {
    let mut words = Vec::new();
    for (name, old) in committed {
        let new = now.get(name).copied().unwrap_or_default();
        for ((what, old), new) in ["product FLOP", "moved bytes"].iter().zip(old).zip(new) {
            if *old != new {
                words.push(format!(
                    "{} {}: {what} went from {old} to {new}",
                    name.0, name.1
                ));
            }
        }
    }
    for name in now.keys().filter(|name| !committed.contains_key(name)) {
        words.push(format!("{} {} is new", name.0, name.1));
    }
    words
}

/// A backend on the CPU whose layer `discriminator c1` makes its forward pass twice.
struct Twice {
    cpu: Cpu<f32>,
}

impl Measured for Twice {
    fn start_meter(&mut self) {
        self.cpu.start_meter();
    }

    fn meter(&self) -> Option<&Meter> {
        self.cpu.meter()
    }
}

impl Backend for Twice {
    const POSTS_AHEAD: usize = 0;

    fn precision(&self) -> Precision {
        self.cpu.precision()
    }

    fn reserve(&mut self, len: usize) -> Result<(), BackendError> {
        self.cpu.reserve(len)
    }

    fn upload(&mut self, to: View, values: &[f32]) -> Result<(), BackendError> {
        self.cpu.upload(to, values)
    }

    fn download(&mut self, from: View, values: &mut [f32]) -> Result<(), BackendError> {
        self.cpu.download(from, values)
    }

    fn post(&mut self, from: View) -> Result<Posted, BackendError> {
        self.cpu.post(from)
    }

    fn receive(&mut self, posted: Posted, values: &mut [f32]) -> Result<(), BackendError> {
        self.cpu.receive(posted, values)
    }

    fn hold(&mut self, len: usize, crops: usize) -> Result<bool, BackendError> {
        self.cpu.hold(len, crops)
    }

    fn write_held(&mut self, offset: usize, values: &[f32]) -> Result<(), BackendError> {
        self.cpu.write_held(offset, values)
    }

    fn choose_crops(&mut self, crops: &[CropPlace]) -> Result<(), BackendError> {
        self.cpu.choose_crops(crops)
    }

    fn run(
        &mut self,
        program: ProgramId,
        scalars: &StepScalars,
        record: &dyn Fn(&mut Self),
    ) -> Result<(), BackendError> {
        self.cpu.run(program, scalars, &|_| {})?;
        record(self);
        Ok(())
    }

    fn mark(&mut self, operation: usize) {
        self.cpu.mark(operation);
    }

    fn crops(&mut self, to: View, side: usize, channels: usize) {
        self.cpu.crops(to, side, channels);
    }

    fn normals(&mut self, to: View, stream: Stream) {
        self.cpu.normals(to, stream);
    }

    fn forward(&mut self, block: &Block, call: &Forward) {
        if block.name == "c1" {
            self.cpu.forward(block, call);
        }
        self.cpu.forward(block, call);
    }

    fn backward(&mut self, block: &Block, call: &Backward) {
        self.cpu.backward(block, call);
    }

    fn targets(&mut self, call: &Targets) {
        self.cpu.targets(call);
    }

    fn loss(&mut self, call: &Loss) {
        self.cpu.loss(call);
    }

    fn adam(&mut self, call: &Adam) {
        self.cpu.adam(call);
    }
}

#[test]
fn a_step_does_what_it_did_and_planted_regressions_fail_by_name() {
    let all = parts(&config(), 1).unwrap();
    let now = counted(&all);
    if std::env::var_os("COSMOGAN_WRITE_BASELINE").is_some_and(|value| value == "1") {
        std::fs::write(baseline(), csv(&now)).unwrap();
    }
    let committed = parse(&std::fs::read_to_string(baseline()).unwrap());
    assert_eq!(moved(&committed, &now), Vec::<String>::new());

    // Of the deep layers' products 49 are made where the definition has 100.
    let deep = [
        "generator ct1",
        "generator ct2",
        "discriminator c1",
        "discriminator c2",
    ];
    for part in all.iter().filter(|part| part.useful_flop > 0) {
        if deep.contains(&part.layer.as_str()) {
            let made = part.product_flop as f64 / part.useful_flop as f64;
            assert!((made - 0.49).abs() < 1e-9, "{part:?}: {made}");
        }
    }

    // Planted: the layers by their definition, as they are computed in f64.
    let plain = parts_on(Cpu::<f64>::new(), &config(), 1).unwrap();
    let found = moved(&committed, &counted(&plain));
    for layer in deep {
        for part in ["forward", "weight gradient", "input gradient"] {
            let words = format!("{layer} {part}: product FLOP went from ");
            assert!(
                found.iter().any(|w| w.starts_with(&words)),
                "{words}: {found:#?}"
            );
        }
    }

    // Planted: one layer's forward pass, batch norm and all, is made twice.
    let cpu = Cpu::<f32>::new();
    let twice = parts_on(Twice { cpu }, &config(), 1).unwrap();
    let found = moved(&committed, &counted(&twice));
    println!("{found:#?}");
    let guilty = "discriminator c1 ";
    assert!(
        found.iter().all(|words| words.starts_with(guilty)),
        "{found:#?}"
    );
    for what in [
        "forward: product FLOP",
        "forward: moved bytes",
        "norm: moved bytes",
    ] {
        let words = format!("{guilty}{what} went from ");
        assert!(
            found.iter().any(|w| w.starts_with(&words)),
            "{words}: {found:#?}"
        );
    }
}
