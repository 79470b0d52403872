//! Values of flags that a shell can complete.

use crate::data::Source;
use crate::flows::Bits;
use crate::models::MODELS;
use crate::nn::Precision;
use crate::train::{presets, DeviceChoice};
use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, Command};
use std::error::Error;
use std::ffi::OsStr;
use std::str::FromStr;

/// Parses as `T` does; the names are what a shell offers, and not all that `T` takes.
#[derive(Debug, Clone)]
pub struct Offered<T> {
    names: fn() -> Vec<String>,
    parse: fn(&str) -> Result<T, Box<dyn Error + Send + Sync>>,
}

fn offered<T>(names: fn() -> Vec<String>) -> Offered<T>
where
    T: FromStr,
    T::Err: Into<Box<dyn Error + Send + Sync>>,
{
    Offered {
        names,
        parse: |text| text.parse().map_err(Into::into),
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// A preset; whether there is one of this name is found out later, with a message that lists all.
pub fn preset() -> Offered<String> {
    offered(|| presets::all().into_iter().map(|known| known.name).collect())
}

/// A flow family, which is looked up later too.
pub fn model() -> Offered<String> {
    offered(|| owned(MODELS))
}

/// A data set, or a path of one.
pub fn data() -> Offered<Source> {
    offered(|| owned(&["glyphs", "mnist", "cifar10", "noise64"]))
}

/// What the nets compute in.
pub fn precision() -> Offered<Precision> {
    offered(|| Precision::ALL.map(|known| known.to_string()).into())
}

/// Bits of a pixel.
pub fn bits() -> Offered<Bits> {
    offered(|| owned(&["5", "8"]))
}

/// A device.
pub fn device() -> Offered<DeviceChoice> {
    offered(|| owned(&["auto", "cpu", "cuda", "cuda:0"]))
}

impl<T: Clone + Send + Sync + 'static> TypedValueParser for Offered<T> {
    type Value = T;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<T, clap::Error> {
        let parse = self.parse;
        StringValueParser::new()
            .try_map(move |text| parse(&text))
            .parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new((self.names)().into_iter().map(PossibleValue::new)))
    }
}
