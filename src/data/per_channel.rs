//! What is known of each channel of a map by itself: a list, written as the bare thing where there
//! is one channel, which is what maps of convergence have.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::error::DataError;

/// One `T` a channel, at least one.
#[derive(Clone, Debug, PartialEq)]
pub struct PerChannel<T>(Vec<T>);

impl<T> PerChannel<T> {
    /// One for each channel, in their order; `None` where there are none.
    pub fn new(each: Vec<T>) -> Option<Self> {
        (!each.is_empty()).then_some(Self(each))
    }

    /// `f` of every channel.
    ///
    /// # Errors
    /// The first of `f`, with the channel where there are several.
    pub fn try_map<U>(
        &self,
        f: impl Fn(&T) -> Result<U, DataError>,
    ) -> Result<PerChannel<U>, DataError> {
        let several = self.0.len() > 1;
        let each = self.0.iter().enumerate().map(|(channel, item)| {
            f(item).map_err(|error| match several {
                true => DataError::Channel {
                    channel,
                    source: Box::new(error),
                },
                false => error,
            })
        });
        each.collect::<Result<_, _>>().map(PerChannel)
    }
}

/// Of one channel.
impl<T> From<T> for PerChannel<T> {
    fn from(only: T) -> Self {
        Self(vec![only])
    }
}

/// The list, one entry a channel.
impl<T> Deref for PerChannel<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Serialize> Serialize for PerChannel<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0[..] {
            [only] => only.serialize(serializer),
            each => each.serialize(serializer),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for PerChannel<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrMore(PhantomData))
    }
}

struct OneOrMore<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrMore<T> {
    type Value = PerChannel<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "one table, or a list of one for each channel")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(PerChannel::from)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        let each = Vec::deserialize(SeqAccessDeserializer::new(seq))?;
        PerChannel::new(each).ok_or_else(|| A::Error::invalid_length(0, &self))
    }
}

/// Channel `channel` of maps `[.., channels]`, `[..]`.
pub fn channel_of(maps: &[f32], channel: usize, channels: usize) -> Vec<f32> {
    maps.iter()
        .skip(channel)
        .step_by(channels)
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_channel_is_written_bare_and_several_as_a_list() {
        for (each, text) in [(vec![0.5], "0.5"), (vec![0.5, 2.0], "[0.5,2.0]")] {
            let list = PerChannel::new(each).unwrap();
            assert_eq!(serde_json::to_string(&list).unwrap(), text);
        }
        assert!(PerChannel::<f64>::new(Vec::new()).is_none());
        assert!(serde_json::from_str::<PerChannel<String>>("[]").is_err());
    }

    #[test]
    fn channels_come_apart_in_order() {
        let maps = [1.0, 10.0, 2.0, 20.0, 3.0, 30.0];
        assert_eq!(channel_of(&maps, 0, 2), [1.0, 2.0, 3.0]);
        assert_eq!(channel_of(&maps, 1, 2), [10.0, 20.0, 30.0]);
        assert_eq!(channel_of(&maps, 0, 1), maps);
    }
}
