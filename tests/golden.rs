//! The training step against tensors of a tiny DCGAN computed by PyTorch and TensorFlow in f64
//! (`../shared/golden/dcgan`, or the folder named by `COSMOGAN_GOLDEN`).

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use cosmogan::backend::cpu::scalar::Scalar;
use cosmogan::backend::gpu::ops::KernelVersion;
use cosmogan::backend::gpu::{Emulated, EmulatedOptions, Gpu};
use cosmogan::backend::{
    AdamConfig, Backend, Cpu, EpsilonForm, FlipUnit, LabelFlip, Precision, StepScalars, View,
};
use cosmogan::model::{
    Architecture, DenseNorm, Field, Inventory, Network, PadLow, Parameter, discriminator, generator,
};
use cosmogan::tape::{Mode, NetworkMemory, Player};
use cosmogan::train::{Convention, Options, Players, StepConfig, StepProgram, UpdateOrder};
use safetensors::SafeTensors;

const BATCH: usize = 4;
const STEPS: u64 = 5;
const RATE: f64 = 2e-4;
const BETA2: f64 = 0.999;

type Tensors = BTreeMap<String, Vec<f64>>;

/// Called with a key, our values and the file's.
type Check<'a> = dyn FnMut(&str, &[f64], &[f64]) + 'a;

/// What a golden file's name stands for.
struct Case {
    pad_low: PadLow,
    update: UpdateOrder,
    fresh_latent: bool,
    epsilon_form: EpsilonForm,
    /// The file that holds the initial parameters and the inputs.
    inputs: &'static str,
}

fn case(name: &str) -> Case {
    use EpsilonForm::{Corrected, Outside};
    use PadLow::{One, Two};
    use UpdateOrder::{Alternating, Simultaneous};
    let (pad_low, update, fresh_latent, epsilon_form, inputs) = match name {
        "dcgan_pt_simultaneous" => (Two, Simultaneous, false, Corrected, "dcgan_pt_simultaneous"),
        "dcgan_tf_simultaneous" => (One, Simultaneous, false, Corrected, "dcgan_tf_simultaneous"),
        "dcgan_pt_alternating" => (Two, Alternating, false, Corrected, "dcgan_pt_alternating"),
        "dcgan_tf_alternating_resample" => (
            One,
            Alternating,
            true,
            Corrected,
            "dcgan_tf_alternating_resample",
        ),
        "tf1_adam_simultaneous" => (One, Simultaneous, false, Outside, "dcgan_tf_simultaneous"),
        other => panic!("no convention is known for the golden file {other}.safetensors"),
    };
    Case {
        pad_low,
        update,
        fresh_latent,
        epsilon_form,
        inputs,
    }
}

fn architecture(pad_low: PadLow) -> Architecture {
    Architecture {
        map_size: 32,
        channels: 1,
        layers: 3,
        base_filters: 4,
        latent: 8,
        conv_bias: true,
        dense_bias: true,
        dense_norm: DenseNorm::Channel,
        pad_low,
    }
}

fn step_config(case: &Case, flip: f64) -> StepConfig {
    StepConfig {
        update: case.update,
        fresh_latent: case.fresh_latent,
        label_flip: LabelFlip {
            probability: flip,
            per: FlipUnit::Batch,
        },
        adam: AdamConfig {
            beta1: 0.5,
            beta2: beta2(case.epsilon_form),
            epsilon: 1e-8,
            epsilon_form: case.epsilon_form,
        },
        ..Convention::Paper.step()
    }
}

/// TensorFlow's optimiser keeps its constants in f32, whatever the type of the parameters.
fn beta2(form: EpsilonForm) -> f64 {
    match form {
        EpsilonForm::Outside => f64::from(BETA2 as f32),
        EpsilonForm::Corrected => BETA2,
    }
}

/// The learning rate that makes our step that of the file. TensorFlow also multiplies the powers
/// of beta2 up in f32; the ratio of its bias correction to the exact one goes into the rate.
fn rate(form: EpsilonForm, step: u64) -> f64 {
    if form == EpsilonForm::Corrected {
        return RATE;
    }
    let power = (1..step).fold(BETA2 as f32, |power, _| power * BETA2 as f32);
    let exact = beta2(form).powf(step as f64);
    f64::from(RATE as f32) * ((1.0 - f64::from(power)) / (1.0 - exact)).sqrt()
}

fn read(folder: &Path, name: &str) -> Tensors {
    let path = folder.join(format!("{name}.safetensors"));
    let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.tensors()
        .into_iter()
        .map(|(key, tensor)| {
            assert_eq!(tensor.dtype(), safetensors::Dtype::F64, "{key}");
            let numbers = tensor.data().chunks_exact(8);
            let values = numbers.map(|b| f64::from_le_bytes(b.try_into().unwrap()));
            (key, values.collect())
        })
        .collect()
}

/// Names as in the golden files, in both networks.
fn letter(player: Player) -> &'static str {
    match player {
        Player::Generator => "G",
        Player::Discriminator => "D",
    }
}

/// A backend whose values the comparison sets and reads.
trait Judged: Backend {
    /// Without an arena.
    fn empty() -> Self;
    fn set(&mut self, view: View, values: &[f64]);
    fn get(&mut self, view: View) -> Vec<f64>;
}

impl<T: Scalar> Judged for Cpu<T> {
    fn empty() -> Self {
        Self::new()
    }

    fn set(&mut self, view: View, values: &[f64]) {
        let to = self.values_mut(view);
        assert_eq!(to.len(), values.len());
        to.iter_mut()
            .zip(values)
            .for_each(|(to, &v)| *to = T::of(v));
    }

    fn get(&mut self, view: View) -> Vec<f64> {
        self.values(view).iter().map(|v| v.wide()).collect()
    }
}

/// The kernels, on the emulator.
impl Judged for Gpu<Emulated> {
    fn empty() -> Self {
        Self::emulated(EmulatedOptions::default(), KernelVersion::V2).unwrap()
    }

    fn set(&mut self, view: View, values: &[f64]) {
        let values: Vec<f32> = values.iter().map(|&v| v as f32).collect();
        self.upload(view, &values).unwrap();
    }

    fn get(&mut self, view: View) -> Vec<f64> {
        let mut values = vec![0.0; view.len];
        self.download(view, &mut values).unwrap();
        values.into_iter().map(f64::from).collect()
    }
}

struct Run<B> {
    epsilon_form: EpsilonForm,
    players: Players,
    step: StepProgram,
    backend: B,
    inputs: Tensors,
}

impl<B: Judged> Run<B> {
    fn new(case: &Case, inputs: Tensors, flip: f64) -> Self {
        let architecture = architecture(case.pad_low);
        let players = Players::place(
            generator(&architecture),
            discriminator(&architecture),
            Precision::F32,
        );
        let options = Options {
            given_latents: true,
            keep_values: true,
            held_maps: false,
        };
        let step = StepProgram::new(&players, &step_config(case, flip), BATCH, options);
        let mut backend = B::empty();
        backend.reserve(step.program.arena_len()).unwrap();
        let mut run = Self {
            epsilon_form: case.epsilon_form,
            players,
            step,
            backend,
            inputs,
        };
        run.load_initial();
        run
    }

    fn sides(&self) -> [(Player, &Network, NetworkMemory); 2] {
        let players = &self.players;
        [
            (
                Player::Generator,
                &*players.generator,
                players.generator_memory,
            ),
            (
                Player::Discriminator,
                &*players.discriminator,
                players.discriminator_memory,
            ),
        ]
    }

    fn load_initial(&mut self) {
        let mut loads = Vec::new();
        for (player, network, memory) in self.sides() {
            for parameter in &network.inventory.parameters {
                let key = format!("init/{}.{}", letter(player), parameter.name);
                let values = self.inputs[&key].clone();
                loads.push((memory.parameters, parameter.clone(), values));
            }
            for parameter in &network.inventory.running {
                let start = f64::from(u8::from(parameter.field == Field::RunningVariance));
                loads.push((
                    memory.running,
                    parameter.clone(),
                    vec![start; parameter.len],
                ));
            }
        }
        for (arena, parameter, values) in loads {
            assert_eq!(values.len(), parameter.len, "{}", parameter.name);
            let mut placed = vec![0.0; parameter.len];
            for (place, value) in parameter.layout.places(parameter.len).zip(values) {
                placed[place] = value;
            }
            let view = arena.part(parameter.start, parameter.len);
            self.backend.set(view, &placed);
        }
        let players = &self.players;
        let (g, d) = (players.generator_memory, players.discriminator_memory);
        let average = players.average_memory.parameters;
        for view in [
            g.first_moment,
            g.second_moment,
            d.first_moment,
            d.second_moment,
            average,
        ] {
            self.backend.set(view, &vec![0.0; view.len]);
        }
    }

    /// Step `number`, counted from 1.
    fn step(&mut self, number: u64) {
        let slice = |all: &[f64]| {
            let len = all.len() / STEPS as usize;
            all[(number as usize - 1) * len..][..len].to_vec()
        };
        // One channel: NCHW and NHWC are the same.
        let real = slice(&self.inputs["x"]);
        self.backend.set(self.step.real, &real);
        let latent = slice(&self.inputs["z"]);
        self.backend.set(self.step.latent, &latent);
        if let Some(view) = self.step.generator_latent {
            let latent = slice(&self.inputs["z_g"]);
            self.backend.set(view, &latent);
        }
        let rate = rate(self.epsilon_form, number);
        let scalars = StepScalars {
            seed: 1,
            step: number,
            generator_rate: rate,
            discriminator_rate: rate,
            average_decay: 0.9,
        };
        self.step.program.run(&mut self.backend, &scalars).unwrap();
    }

    /// A named tensor of `G.ct1.weight`'s kind from an arena, in PyTorch's order.
    fn named(
        &mut self,
        name: &str,
        arena: impl Fn(&NetworkMemory, &Parameter) -> View,
    ) -> Option<Vec<f64>> {
        let (side, name) = name.split_once('.')?;
        let (_, network, memory) = self
            .sides()
            .into_iter()
            .find(|(player, ..)| letter(*player) == side)?;
        let Inventory {
            parameters,
            running,
        } = &network.inventory;
        let parameter = parameters.iter().chain(running);
        let parameter = parameter.clone().find(|p| p.name == name)?.clone();
        let view = arena(&memory, &parameter).part(parameter.start, parameter.len);
        let values = self.backend.get(view);
        let places = parameter.layout.places(parameter.len);
        Some(places.map(|place| values[place]).collect())
    }

    /// Our value for a golden key of the step just taken; `None` for what we do not compute.
    fn value(&mut self, key: &str) -> Option<Vec<f64>> {
        let (_, item) = key.split_once('/')?;
        if let Some(name) = item.strip_prefix("grad/") {
            if name == "fake_from_g_loss" {
                // The walk back through tanh has multiplied it by 1 - fake^2.
                let fake = self
                    .backend
                    .get(self.step.generator_fake.unwrap_or(self.step.fake));
                let gradient = self.backend.get(self.step.fake_gradient);
                let pairs = gradient.iter().zip(fake);
                return Some(pairs.map(|(g, y)| g / (1.0 - y * y)).collect());
            }
            return self.named(name, |memory, _| memory.gradient);
        }
        if let Some(name) = item.strip_prefix("adam_m/") {
            return self.named(name, |memory, _| memory.first_moment);
        }
        if let Some(name) = item.strip_prefix("adam_v/") {
            return self.named(name, |memory, _| memory.second_moment);
        }
        match item {
            "fake" => Some(self.backend.get(self.step.fake)),
            "fake_gstep" => Some(self.backend.get(self.step.generator_fake?)),
            "d_logits_real" => Some(self.backend.get(self.step.real_logits)),
            "d_logits_fake" => Some(self.backend.get(self.step.fake_logits)),
            "d_logits_fake_gstep" => Some(self.backend.get(self.step.generator_logits?)),
            "d_loss_real" => Some(self.backend.get(self.step.losses)[..1].to_vec()),
            "d_loss_fake" => Some(self.backend.get(self.step.losses)[1..2].to_vec()),
            "d_loss" => Some(vec![
                self.backend.get(self.step.losses)[0] + self.backend.get(self.step.losses)[1],
            ]),
            "g_loss" => Some(self.backend.get(self.step.losses)[2..].to_vec()),
            name => self.named(name, |memory, parameter| match parameter.field {
                Field::RunningMean | Field::RunningVariance => memory.running,
                _ => memory.parameters,
            }),
        }
    }

    /// Inference with running statistics.
    fn infer(&mut self, player: Player, input: &[f64]) -> Vec<f64> {
        let mut tape = self.players.tape();
        let x = tape.input(input.len());
        let memory = match player {
            Player::Generator => self.players.generator_memory,
            Player::Discriminator => self.players.discriminator_memory,
        };
        let pass = tape.forward(player, &memory, Mode::Infer, BATCH, x, None);
        tape.keep(pass.output);
        let program = tape.plan();
        self.backend.reserve(program.arena_len()).unwrap();
        self.backend.set(program.resolve(x), input);
        let scalars = StepScalars {
            seed: 0,
            step: 0,
            generator_rate: 0.0,
            discriminator_rate: 0.0,
            average_decay: 0.0,
        };
        program.run(&mut self.backend, &scalars).unwrap();
        self.backend.get(program.resolve(pass.output))
    }
}

/// Biases right before a batch norm: their true gradient is zero.
fn before_batch_norm(key: &str) -> bool {
    ["G.ct1.bias", "G.ct2.bias", "D.c1.bias", "D.c2.bias"]
        .iter()
        .any(|name| key.ends_with(name))
}

/// What the files hold beyond what a run computes: outputs of single layers (implied by the
/// gradients), and running statistics under another momentum than ours.
fn is_left_out(key: &str) -> bool {
    key.contains("/act/") || key.contains("/bn_momentum_0.9/")
}

/// The largest deviation from `expected`, and its largest magnitude. Refuses NaN and other lengths.
fn deviation(key: &str, ours: &[f64], expected: &[f64]) -> (f64, f64) {
    assert_eq!(ours.len(), expected.len(), "{key}");
    let magnitude = expected.iter().fold(0.0f64, |most, b| most.max(b.abs()));
    let mut worst = 0.0f64;
    for (a, b) in ours.iter().zip(expected) {
        let difference = (a - b).abs();
        assert!(difference.is_finite(), "{key}: {a} against {b}");
        worst = worst.max(difference);
    }
    (worst, magnitude)
}

/// Runs a file's five steps and hands every comparable key to `check(key, ours, expected)`;
/// returns how many there were.
fn compare<B: Judged>(folder: &Path, name: &str, check: &mut Check<'_>) -> usize {
    let case = case(name);
    let expected = read(folder, name);
    let inputs = read(folder, case.inputs);
    let mut compared = 0;
    let mut run = Run::<B>::new(&case, inputs.clone(), 0.0);
    for number in 1..=STEPS {
        run.step(number);
        let of_step = [format!("step{number}/"), format!("after{number}/")];
        for (key, expected) in &expected {
            if is_left_out(key) || !of_step.iter().any(|prefix| key.starts_with(prefix)) {
                continue;
            }
            let ours = run
                .value(key)
                .unwrap_or_else(|| panic!("{name}: unknown key {key}"));
            check(key, &ours, expected);
            compared += 1;
        }
    }
    for (key, expected) in &expected {
        let ours = match key.as_str() {
            "eval_after5/G_z1" => {
                let z = inputs["z"][..inputs["z"].len() / STEPS as usize].to_vec();
                run.infer(Player::Generator, &z)
            }
            "eval_after5/D_logits_x1" => {
                let x = inputs["x"][..inputs["x"].len() / STEPS as usize].to_vec();
                run.infer(Player::Discriminator, &x)
            }
            _ if key.starts_with("after1_D_before_G/") => {
                let mut first = Run::<B>::new(&case, inputs.clone(), 0.0);
                first.step(1);
                first.value(key).unwrap()
            }
            _ if key.starts_with("flipped_labels/") => {
                let mut flipped = Run::<B>::new(&case, inputs.clone(), 1.0);
                flipped.step(1);
                flipped.value(key).unwrap()
            }
            _ => continue,
        };
        check(key, &ours, expected);
        compared += 1;
    }
    compared
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert!(!names.is_empty(), "no golden files in {}", folder.display());
    names
}

#[test]
fn five_steps_in_f64_are_those_of_pytorch_and_tensorflow() {
    let Some(folder) = common::shared("golden/dcgan", Some("COSMOGAN_GOLDEN")) else {
        return;
    };
    for name in files(&folder) {
        let mut worst = (0.0, String::new());
        let compared = compare::<Cpu<f64>>(&folder, &name, &mut |key, ours, expected| {
            let (difference, magnitude) = deviation(key, ours, expected);
            let tolerance = 1e-9 * magnitude + 1e-12;
            assert!(
                difference <= tolerance,
                "{name}: {key} deviates by {difference:e}, {tolerance:e} is allowed"
            );
            if difference / tolerance > worst.0 {
                worst = (difference / tolerance, key.to_owned());
            }
        });
        assert!(
            compared >= 52,
            "{name}: only {compared} tensors were compared"
        );
        println!(
            "{name}: {compared} tensors, worst {:.2e} of the tolerance at {}",
            worst.0, worst.1
        );
    }
}

/// The group under which the file of f32 deviations lists a key.
fn group(key: &str) -> Option<String> {
    if before_batch_norm(key) {
        return None;
    }
    let (step, item) = key.split_once('/')?;
    let first = item.split('/').next()?;
    Some(match first {
        "grad" | "adam_m" | "adam_v" => format!("{step}/{first}"),
        _ if step == "after1_D_before_G" => key.to_owned(),
        _ if item.contains("running_") => format!("{step}/running"),
        _ if step.starts_with("after") => format!("{step}/params"),
        _ => key.to_owned(),
    })
}

/// Five steps of `B` against every file, within ten times PyTorch's own f32 deviation.
fn compare_in_f32<B: Judged>() {
    let Some(folder) = common::shared("golden/dcgan", Some("COSMOGAN_GOLDEN")) else {
        return;
    };
    let text = std::fs::read_to_string(folder.join("float32_deviation.json")).unwrap();
    let listed: BTreeMap<String, BTreeMap<String, f64>> = serde_json::from_str(&text).unwrap();
    for name in files(&folder) {
        // TensorFlow's file lists no deviations of its own: its parameters have those of the
        // same steps in PyTorch.
        let Some(listed) = listed.get(&name).or_else(|| listed.get(case(&name).inputs)) else {
            panic!("no f32 deviations are listed for {name}");
        };
        let mut worst = (0.0, String::new());
        let compared = compare::<B>(&folder, &name, &mut |key, ours, expected| {
            let Some(group) = group(key) else { return };
            let listed = listed
                .get(&group)
                .unwrap_or_else(|| panic!("{name}: {group} has no listed deviation"));
            let (difference, magnitude) = deviation(key, ours, expected);
            let tolerance = 10.0 * listed.max(f64::from(f32::EPSILON) * magnitude);
            assert!(
                difference <= tolerance,
                "{name}: {key} deviates by {difference:e}, {tolerance:e} is allowed"
            );
            if difference / tolerance > worst.0 {
                worst = (difference / tolerance, key.to_owned());
            }
        });
        println!(
            "{name}: {compared} tensors, worst {:.2} of the tolerance at {}",
            worst.0, worst.1
        );
    }
}

#[test]
fn five_steps_in_f32_stay_within_ten_times_pytorchs_own_f32_deviation() {
    compare_in_f32::<Cpu<f32>>();
}

#[test]
fn five_steps_of_the_kernels_stay_within_ten_times_pytorchs_own_f32_deviation() {
    compare_in_f32::<Gpu<Emulated>>();
}
