//! From defaults, files and wishes to one [`Config`]: preset, then convention, then file, then
//! command line; and the stricter rules of a run that is resumed.

use std::path::Path;

use toml::{Table, Value};

use super::{Config, ConfigError, Convention};
use crate::model::Preset;

/// Fields that may differ when a run is resumed: none of them changes what a step computes, save
/// the device, its kernels and the precision, whose arithmetic rounds otherwise.
const FREE_ON_RESUME: [&str; 21] = [
    "run.steps",
    "run.epochs",
    "run.device",
    "run.kernels",
    "run.dense",
    "run.precision",
    "run.log_every",
    "run.sample_every",
    "run.picture_style",
    "run.checkpoint_every",
    "run.keep",
    "run.keep_every",
    "run.on_divergence",
    "run.watch",
    "run.tensorboard",
    "run.validation_every",
    "run.select",
    "run.select_last_epochs",
    "run.select_every",
    "run.select_maps",
    "data.check",
];

/// The configuration of a new run before the command line's other flags: the defaults of `preset`
/// and `convention` (or those that `file` names, or the demo's), overlaid with `file`, which may be
/// partial. The result is not yet validated.
///
/// # Errors
/// A file that cannot be read, has unknown or mistyped fields, or names another preset or
/// convention than the arguments.
pub fn load(
    preset: Option<Preset>,
    convention: Option<Convention>,
    file: Option<&Path>,
) -> Result<Config, ConfigError> {
    let Some(path) = file else {
        let preset = preset.unwrap_or(Preset::Demo);
        return Ok(Config::of_preset(preset, convention));
    };
    let overlay = read(path)?;
    let preset = agreed(preset, "preset", &overlay, path)?.unwrap_or(Preset::Demo);
    let convention = agreed(convention, "convention", &overlay, path)?;
    overlaid(&Config::of_preset(preset, convention), overlay, path)
}

/// `base` overlaid with the TOML file at `path`, which may be partial.
///
/// # Errors
/// A file that cannot be read, or has unknown or mistyped fields.
pub fn overlay_file(base: &Config, path: &Path) -> Result<Config, ConfigError> {
    overlaid(base, read(path)?, path)
}

/// Checks that `asked`, made from the resumed run's `run` by files and flags, changes nothing but
/// totals, output cadence, the choice of the generator, and the device.
///
/// # Errors
/// The first other field that differs, with both values.
pub fn check_resumable(run: &Config, asked: &Config) -> Result<(), ConfigError> {
    let (run, asked) = (Table::try_from(run)?, Table::try_from(asked)?);
    match first_difference("", &run, &asked) {
        None => Ok(()),
        Some((field, run, asked)) => Err(ConfigError::Resume { field, run, asked }),
    }
}

/// Sets the length of a run: a new total replaces both old ones.
pub fn set_totals(config: &mut Config, steps: Option<u64>, epochs: Option<u64>) {
    if steps.is_some() || epochs.is_some() {
        (config.run.steps, config.run.epochs) = (steps, epochs);
    }
}

fn read(path: &Path) -> Result<Table, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    text.parse().map_err(|source| parse_error(path, source))
}

fn parse_error(path: &Path, source: toml::de::Error) -> ConfigError {
    ConfigError::Parse {
        path: path.to_owned(),
        source: Box::new(source),
    }
}

/// The value of a top-level field on which argument and file agree, from whichever has it.
fn agreed<T>(
    asked: Option<T>,
    field: &'static str,
    overlay: &Table,
    path: &Path,
) -> Result<Option<T>, ConfigError>
where
    T: serde::de::DeserializeOwned + serde::Serialize + Copy + PartialEq,
{
    let Some(value) = overlay.get(field) else {
        return Ok(asked);
    };
    let given: T = value
        .clone()
        .try_into()
        .map_err(|source| parse_error(path, source))?;
    match asked {
        Some(asked) if asked != given => Err(ConfigError::Contradiction {
            field,
            asked: show(Some(&Value::try_from(asked)?)),
            given: show(Some(value)),
            path: path.to_owned(),
        }),
        _ => Ok(Some(given)),
    }
}

fn overlaid(base: &Config, overlay: Table, path: &Path) -> Result<Config, ConfigError> {
    let mut table = Table::try_from(base)?;
    // A file that sets one of the two totals means that one, not the other one's default as well.
    let totals = ["steps", "epochs"];
    let sets_total = |table: &Table| totals.iter().any(|total| table.contains_key(*total));
    if overlay
        .get("run")
        .and_then(Value::as_table)
        .is_some_and(sets_total)
        && let Some(run) = table.get_mut("run").and_then(Value::as_table_mut)
    {
        for total in totals {
            run.remove(total);
        }
    }
    merge(&mut table, overlay);
    table.try_into().map_err(|source| parse_error(path, source))
}

/// Lays `overlay` over `base`: tables are merged, all else replaced.
fn merge(base: &mut Table, overlay: Table) {
    for (key, value) in overlay {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(base)), Value::Table(overlay)) => merge(base, overlay),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

fn first_difference(prefix: &str, run: &Table, asked: &Table) -> Option<(String, String, String)> {
    let keys = run
        .keys()
        .chain(asked.keys().filter(|key| !run.contains_key(*key)));
    for key in keys {
        let field = format!("{prefix}{key}");
        let (old, new) = (run.get(key), asked.get(key));
        if let (Some(Value::Table(old)), Some(Value::Table(new))) = (old, new) {
            if let Some(found) = first_difference(&format!("{field}."), old, new) {
                return Some(found);
            }
        } else if old != new && !FREE_ON_RESUME.contains(&field.as_str()) {
            return Some((field, show(old), show(new)));
        }
    }
    None
}

fn show(value: Option<&Value>) -> String {
    match value {
        None => "not set".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::{KernelChoice, PrecisionChoice, Schedule, TransformChoice, UpdateOrder};

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn every_presets_defaults_are_valid_and_survive_toml() {
        for preset in Preset::ALL {
            for convention in [None, Some(Convention::Paper), Some(Convention::Torch)] {
                let mut config = Config::of_preset(preset, convention);
                config.data.paths = vec!["maps/a file.npy".into()];
                config.data.angle_deg = Some(12f64.sqrt());
                config.validate().unwrap();
                let text = config.to_toml().unwrap();
                assert_eq!(toml::from_str::<Config>(&text).unwrap(), config);
                let whole = file(&text);
                assert_eq!(load(None, None, Some(whole.path())).unwrap(), config);
            }
        }
    }

    #[test]
    fn a_partial_file_changes_what_it_names_and_nothing_else() {
        let partial = file(
            "preset = 'paper-64'\nconvention = 'torch'\n[run]\nsteps = 7\n[step.adam]\nbeta1 = 0\n\
             [data]\ntransform = 'log'\n",
        );
        let config = load(None, None, Some(partial.path())).unwrap();
        let mut expected = Config::of_preset(Preset::Paper64, Some(Convention::Torch));
        (expected.run.steps, expected.run.epochs) = (Some(7), None);
        expected.step.adam.beta1 = 0.0;
        expected.data.transform = TransformChoice::Log;
        assert_eq!(config, expected);
        assert_eq!(config.step.update, UpdateOrder::Alternating);
    }

    #[test]
    fn unknown_and_mistyped_fields_are_named() {
        let unknown = file("[run]\nbatchsize = 3\n");
        let message = load(None, None, Some(unknown.path()))
            .unwrap_err()
            .to_string();
        assert!(message.contains("batchsize"), "{message}");
        let mistyped = file("[run]\nbatch = 'many'\n");
        let message = load(None, None, Some(mistyped.path()))
            .unwrap_err()
            .to_string();
        assert!(message.contains("batch"), "{message}");
        let missing = load(None, None, Some(Path::new("no such file.toml"))).unwrap_err();
        assert!(missing.to_string().contains("no such file.toml"));
    }

    #[test]
    fn a_preset_that_contradicts_the_file_is_refused() {
        let thesis = file("preset = 'thesis-256'\n");
        let error = load(Some(Preset::Demo), None, Some(thesis.path())).unwrap_err();
        assert!(error.to_string().contains("--preset demo contradicts"));
        assert!(load(Some(Preset::Thesis256), None, Some(thesis.path())).is_ok());
    }

    #[test]
    fn a_resumed_run_may_change_totals_cadence_and_arithmetic_only() {
        let run = Config::of_preset(Preset::Demo, None);
        let mut asked = run.clone();
        set_totals(&mut asked, None, Some(9));
        (asked.run.keep, asked.run.log_every) = (8, 1);
        asked.run.precision = PrecisionChoice::F32;
        asked.run.kernels = KernelChoice::V1;
        (asked.run.select, asked.run.select_every) = (true, Some(1));
        (asked.run.select_last_epochs, asked.run.select_maps) = (Some(2), Some(6400));
        check_resumable(&run, &asked).unwrap();
        asked.run.seed = 2;
        let message = check_resumable(&run, &asked).unwrap_err().to_string();
        assert!(message.starts_with("run.seed is 1 in the run"), "{message}");
        let mut asked = run.clone();
        asked.step.generator_rate = Schedule::constant(1e-3);
        let message = check_resumable(&run, &asked).unwrap_err().to_string();
        assert!(message.contains("step.generator_rate"), "{message}");
        let mut asked = run.clone();
        asked.architecture.latent = 65;
        let message = check_resumable(&run, &asked).unwrap_err().to_string();
        assert!(message.contains("architecture.latent"), "{message}");
        let mut asked = run.clone();
        asked.data.angle_deg = Some(1.0);
        assert!(check_resumable(&run, &asked).is_err());
    }

    #[test]
    fn totals_are_the_shorter_of_steps_and_epochs() {
        let mut config = Config::of_preset(Preset::Demo, None);
        set_totals(&mut config, Some(100), Some(3));
        assert_eq!(config.total_steps(20), 60);
        assert_eq!(config.total_steps(50), 100);
        set_totals(&mut config, None, None);
        assert_eq!(config.total_steps(50), 100);
    }

    #[test]
    fn a_field_out_of_range_is_named_with_its_value() {
        let base = Config::of_preset(Preset::Demo, None);
        type Spoil = fn(&mut Config);
        let cases: [(&str, Spoil); 19] = [
            ("run.batch is 0", |c| c.run.batch = 0),
            ("run.log_every is 0", |c| c.run.log_every = 0),
            ("run.keep is 0", |c| c.run.keep = 0),
            ("run.ema_decay is 1", |c| c.run.ema_decay = 1.0),
            ("run.select_every is 5; it says how", |c| {
                c.run.select_every = Some(5);
            }),
            ("run.select_maps is 3; it must be 4", |c| {
                (c.run.select, c.run.select_maps) = (true, Some(3));
            }),
            ("run.select_last_epochs is 0", |c| {
                (c.run.select, c.run.select_last_epochs) = (true, Some(0));
            }),
            ("run.steps is missing", |c| c.run.steps = None),
            ("run.seed", |c| c.run.seed = u64::MAX),
            ("rate[0].rate is NaN", |c| {
                c.step.generator_rate = Schedule::constant(f64::NAN);
            }),
            ("discriminator_rate[0].rate is -1", |c| {
                c.step.discriminator_rate = Schedule::constant(-1.0);
            }),
            ("generator_rate is empty", |c| {
                c.step.generator_rate.segments.clear();
            }),
            ("label_flip.probability is 1.5", |c| {
                c.step.label_flip.probability = 1.5;
            }),
            ("step.label_smoothing is NaN", |c| {
                c.step.label_smoothing = f64::NAN;
            }),
            ("step.adam.beta2 is 1;", |c| c.step.adam.beta2 = 1.0),
            ("step.adam.epsilon is 0", |c| c.step.adam.epsilon = 0.0),
            ("map_size is 65", |c| c.architecture.map_size = 65),
            ("data.fractions is [0.9, 0.9", |c| {
                c.data.fractions = [0.9, 0.9, 0.0];
            }),
            ("name is \"../x\"", |c| c.name = "../x".to_owned()),
        ];
        for (expected, spoil) in cases {
            let mut config = base.clone();
            spoil(&mut config);
            let message = config.validate().unwrap_err().to_string();
            assert!(message.contains(expected), "{message} lacks {expected}");
        }
    }
}
