//! The stored form of metadata: the values of JSON as the items of CBOR that mean the same.
//!
//! Null, true, false, texts, arrays and maps have their items. A number is an unsigned or a negative
//! integer when it was written as one, and a double otherwise, so that it is given back as it came.

use std::borrow::Cow;

use hermes_core::metadata::Metadata;
use minicbor::data::Type;
use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use serde_json::{Map, Number, Value};

/// Far deeper than what is accepted, which has a limit of its own, and shallow enough for any stack.
const DEPTH_MAX: usize = 128;
/// Members that room is made for before they are read: a length is only a claim.
const ROOM_MAX: usize = 64;

/// Writes metadata as a map.
pub(super) fn encode<C, W: Write>(
    metadata: &Metadata,
    encoder: &mut Encoder<W>,
    _context: &mut C,
) -> Result<(), encode::Error<W::Error>> {
    write_members(encoder, metadata.len(), metadata)
}

/// Reads what [`encode`] has written.
pub(super) fn decode<C>(
    decoder: &mut Decoder<'_>,
    _context: &mut C,
) -> Result<Cow<'static, Metadata>, decode::Error> {
    let count = length(decoder.map()?)?;
    let mut members = Vec::<(Box<str>, Value)>::with_capacity(count.min(ROOM_MAX));
    for _ in 0..count {
        members.push(read_member(decoder, DEPTH_MAX)?);
    }
    Ok(Cow::Owned(members.into_iter().collect()))
}

fn write_members<'a, W: Write>(
    encoder: &mut Encoder<W>,
    count: usize,
    members: impl IntoIterator<Item = (impl AsRef<str>, &'a Value)>,
) -> Result<(), encode::Error<W::Error>> {
    encoder.map(count as u64)?;
    for (name, value) in members {
        encoder.str(name.as_ref())?;
        write_value(encoder, value)?;
    }
    Ok(())
}

fn write_value<W: Write>(
    encoder: &mut Encoder<W>,
    value: &Value,
) -> Result<(), encode::Error<W::Error>> {
    match value {
        Value::Null => encoder.null().map(drop),
        Value::Bool(value) => encoder.bool(*value).map(drop),
        Value::Number(number) => write_number(encoder, number),
        Value::String(text) => encoder.str(text).map(drop),
        Value::Array(items) => {
            encoder.array(items.len() as u64)?;
            items.iter().try_for_each(|item| write_value(encoder, item))
        }
        Value::Object(members) => write_members(encoder, members.len(), members),
    }
}

fn write_number<W: Write>(
    encoder: &mut Encoder<W>,
    number: &Number,
) -> Result<(), encode::Error<W::Error>> {
    if let Some(number) = number.as_u64() {
        return encoder.u64(number).map(drop);
    }
    if let Some(number) = number.as_i64() {
        return encoder.i64(number).map(drop);
    }
    let number = number.as_f64().expect("it is an integer or a double");
    encoder.f64(number).map(drop)
}

fn read_member<'b, N: From<&'b str>>(
    decoder: &mut Decoder<'b>,
    depth: usize,
) -> Result<(N, Value), decode::Error> {
    Ok((decoder.str()?.into(), read_value(decoder, depth)?))
}

fn read_value(decoder: &mut Decoder<'_>, depth: usize) -> Result<Value, decode::Error> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(decode::Error::message("metadata are nested too deeply"));
    };
    Ok(match decoder.datatype()? {
        Type::Null => decoder.null().map(|()| Value::Null)?,
        Type::Bool => decoder.bool()?.into(),
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => decoder.u64()?.into(),
        Type::I8 | Type::I16 | Type::I32 | Type::I64 => decoder.i64()?.into(),
        Type::F64 => {
            let number = Number::from_f64(decoder.f64()?);
            let wrong = || decode::Error::message("a number in metadata is not finite");
            number.map(Value::Number).ok_or_else(wrong)?
        }
        Type::String => decoder.str()?.into(),
        Type::Array => {
            let count = length(decoder.array()?)?;
            let items = (0..count).map(|_| read_value(decoder, depth));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        Type::Map => {
            let count = length(decoder.map()?)?;
            let members = (0..count).map(|_| read_member(decoder, depth));
            Value::Object(members.collect::<Result<Map<_, _>, _>>()?)
        }
        other => {
            let what = format_args!("metadata hold what JSON cannot say: {other}");
            return Err(decode::Error::message(what));
        }
    })
}

fn length(count: Option<u64>) -> Result<usize, decode::Error> {
    let count = count.and_then(|count| usize::try_from(count).ok());
    count.ok_or_else(|| decode::Error::message("metadata do not say how long they are"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn stored(metadata: &Metadata) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(metadata, &mut Encoder::new(&mut bytes), &mut ()).unwrap();
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Metadata, String> {
        let read = decode(&mut Decoder::new(bytes), &mut ());
        read.map(Cow::into_owned).map_err(|error| error.to_string())
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,30}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(".{0,3}", inner, 0..4)
                    .prop_map(|members| json!(members)),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_was_stored_means_the_same(members in prop::collection::btree_map(".{0,9}", any_value(), 0..4)) {
            let metadata: Metadata = members.into_iter().collect();
            let again = read(&stored(&metadata)).unwrap();
            prop_assert_eq!(serde_json::to_string(&again).unwrap(), serde_json::to_string(&metadata).unwrap());
            prop_assert_eq!(again, metadata);
        }

        #[test]
        fn whatever_is_read_there_is_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(metadata) = read(&bytes) {
                prop_assert_eq!(read(&stored(&metadata)), Ok(metadata));
            }
        }
    }

    #[test]
    fn what_json_cannot_say_is_refused() {
        let nested = [vec![0xa1, 0x60], vec![0x81; 200], vec![0xf6]].concat();
        for (bytes, expected) in [
            (&[0xa1, 0x60, 0xf7][..], "JSON cannot say"),
            (
                &[0xa1, 0x60, 0xfb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0],
                "not finite",
            ),
            (&[0xbf, 0xff], "how long"),
            (&[0xa1, 0x60, 0x41, 0], "JSON cannot say"),
            (&nested, "too deeply"),
            (
                &[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
                "end of input",
            ),
        ] {
            let error = read(bytes).unwrap_err();
            assert!(error.contains(expected), "{bytes:?}: {error}");
        }
    }
}
