//! Serde for the contract's types: ids as checked text, enums as their numbers on the wire, time in nanoseconds.

use kasmina_leyline::{Monotonic, SeedId};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

pub(crate) mod seed_id {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(id: &SeedId, serializer: S) -> Result<S::Ok, S::Error> {
        id.as_str().serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SeedId, D::Error> {
        SeedId::new(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

pub(crate) mod number {
    use super::*;

    pub(crate) fn serialize<S: Serializer, E: Copy + Into<i32>>(value: &E, serializer: S) -> Result<S::Ok, S::Error> {
        (*value).into().serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>, E: TryFrom<i32>>(deserializer: D) -> Result<E, D::Error> {
        let number = i32::deserialize(deserializer)?;
        E::try_from(number).map_err(|_| unknown(number))
    }
}

pub(crate) mod optional_number {
    use super::*;

    pub(crate) fn serialize<S: Serializer, E: Copy + Into<i32>>(
        value: &Option<E>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.map(Into::into).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>, E: TryFrom<i32>>(
        deserializer: D,
    ) -> Result<Option<E>, D::Error> {
        let number = Option::<i32>::deserialize(deserializer)?;
        number.map(|number| E::try_from(number).map_err(|_| unknown(number))).transpose()
    }
}

pub(crate) mod nanos {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(time: &Monotonic, serializer: S) -> Result<S::Ok, S::Error> {
        time.as_nanos().serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Monotonic, D::Error> {
        u64::deserialize(deserializer).map(Monotonic::from_nanos)
    }
}

fn unknown<E: Error>(number: i32) -> E {
    E::custom(format_args!("{number} is not a value of this enum"))
}
