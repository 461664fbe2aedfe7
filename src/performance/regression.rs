//! Counts beside committed ones: which kernel does what more often than it did.
//!
//! Counts are exact, and so any difference is one of the kernels or of their launches.

use std::fmt;

use super::Counts;
use super::counts::FIELDS;

/// A kernel's counts; the order is that of the launches.
pub type Counted = (String, Counts);

/// A count that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The place among the launches.
    pub launch: usize,
    pub kernel: String,
    /// One of [`FIELDS`].
    pub counter: &'static str,
    pub committed: u64,
    pub now: u64,
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            launch,
            kernel,
            counter,
            committed,
            now,
        } = self;
        write!(
            f,
            "{kernel} (launch {launch}): {counter} went from {committed} to {now}"
        )?;
        if *committed > 0 {
            let percent = 100.0 * (*now as f64 / *committed as f64 - 1.0);
            write!(f, " ({percent:+.1}%)")?;
        }
        Ok(())
    }
}

/// Why tables cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    #[error("line {line} of the table is no kernel with its counts: {text}")]
    Line { line: usize, text: String },
    #[error("launch {launch} was {committed} and is {now}")]
    Kernel {
        launch: usize,
        committed: String,
        now: String,
    },
    #[error("there were {committed} launches, and there are {now}")]
    Number { committed: usize, now: usize },
}

/// A table of launches, one a line.
pub fn csv<'a>(launches: impl IntoIterator<Item = (&'a str, Counts)>) -> String {
    let mut text = format!("kernel,{}\n", FIELDS.join(","));
    for (kernel, counts) in launches {
        text += kernel;
        for field in counts.fields() {
            text += &format!(",{field}");
        }
        text.push('\n');
    }
    text
}

/// The reverse of [`csv`].
///
/// # Errors
/// The first line that is no such thing.
pub fn parse(text: &str) -> Result<Vec<Counted>, TableError> {
    let lines = text.lines().enumerate().skip(1);
    let parsed = lines.map(|(index, text)| {
        let mut cells = text.split(',');
        let kernel = cells.next().unwrap_or_default().to_owned();
        let fields: Option<Vec<u64>> = cells.map(|cell| cell.parse().ok()).collect();
        let fields = fields.and_then(|fields| fields.try_into().ok());
        match fields {
            Some(fields) => Ok((kernel, Counts::from_fields(fields))),
            None => Err(TableError::Line {
                line: index + 1,
                text: text.to_owned(),
            }),
        }
    });
    parsed.collect()
}

/// All counts that are not the committed ones.
///
/// # Errors
/// Other kernels, or another number of launches: an additional pass of its own, for one.
pub fn moved(committed: &[Counted], now: &[Counted]) -> Result<Vec<Moved>, TableError> {
    let mut found = Vec::new();
    for (launch, (old, new)) in committed.iter().zip(now).enumerate() {
        if old.0 != new.0 {
            return Err(TableError::Kernel {
                launch,
                committed: old.0.clone(),
                now: new.0.clone(),
            });
        }
        let both = old.1.fields().into_iter().zip(new.1.fields());
        for (counter, (committed, now)) in FIELDS.into_iter().zip(both) {
            if committed != now {
                found.push(Moved {
                    launch,
                    kernel: old.0.clone(),
                    counter,
                    committed,
                    now,
                });
            }
        }
    }
    match committed.len() == now.len() {
        true => Ok(found),
        false => Err(TableError::Number {
            committed: committed.len(),
            now: now.len(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted() -> Vec<Counted> {
        let of = |n| Counts::from_fields([n, 2, 3, 4, 5, 6, 7, 0]);
        vec![("adam".to_owned(), of(1)), ("half_pack".to_owned(), of(9))]
    }

    fn table(launches: &[Counted]) -> String {
        csv(launches
            .iter()
            .map(|(kernel, counts)| (kernel.as_str(), *counts)))
    }

    #[test]
    fn tables_are_read_as_they_were_written() {
        let launches = counted();
        assert_eq!(parse(&table(&launches)), Ok(launches));
        for bad in [
            "adam,1,2",
            "adam,1,2,3,4,5,6,7,x",
            "adam,1,2,3,4,5,6,7,8,9",
            "",
        ] {
            let text = format!("kernel\n{bad}\n");
            assert!(
                matches!(parse(&text), Err(TableError::Line { line: 2, .. })),
                "{bad}"
            );
        }
    }

    #[test]
    fn what_moved_is_named_with_its_kernel_and_counter() {
        let (committed, mut now) = (counted(), counted());
        assert_eq!(moved(&committed, &now), Ok(Vec::new()));
        now[1].1.sector_bytes = 6;
        now[1].1.barriers = 8;
        let found = moved(&committed, &now).unwrap();
        let told: Vec<String> = found.iter().map(ToString::to_string).collect();
        let expected = [
            "half_pack (launch 1): sector_bytes went from 4 to 6 (+50.0%)",
            "half_pack (launch 1): barriers went from 0 to 8",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn other_launches_are_told() {
        let (committed, mut now) = (counted(), counted());
        now.push(now[0].clone());
        let error = moved(&committed, &now).unwrap_err();
        assert_eq!(error.to_string(), "there were 2 launches, and there are 3");
        now.swap(0, 1);
        let error = moved(&committed, &now).unwrap_err();
        assert_eq!(error.to_string(), "launch 0 was adam and is half_pack");
    }
}
