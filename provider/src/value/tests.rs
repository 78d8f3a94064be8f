//! The codec against itself (round trips), against an independent msgpack reader, and against hostile bytes.

use proptest::prelude::*;

use super::*;

fn any_type() -> impl Strategy<Value = Type> {
    let leaf = prop_oneof![
        Just(Type::Bool),
        Just(Type::Number),
        Just(Type::String),
        Just(Type::Dynamic)
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(Type::list),
            inner.clone().prop_map(|ty| Type::Set(Box::new(ty))),
            inner.clone().prop_map(Type::map),
            prop::collection::vec(inner.clone(), 0..4).prop_map(Type::Tuple),
            prop::collection::btree_map("[a-z_]{1,8}", inner, 0..4).prop_map(Type::Object),
        ]
    })
}

fn any_number() -> impl Strategy<Value = Number> {
    prop_oneof![
        any::<i64>().prop_map(Number::from),
        any::<u64>().prop_map(Number::from),
        any::<f64>().prop_filter_map("finite", |value| Number::from_f64(value).ok()),
        "-?[0-9]{1,40}(\\.[0-9]{1,30})?(e-?[0-9]{1,3})?".prop_map(|text| Number::from_text(&text).expect("decimal")),
    ]
}

fn value_of(ty: &Type) -> BoxedStrategy<Value> {
    let known: BoxedStrategy<Value> = match ty {
        Type::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Type::Number => any_number().prop_map(Value::Number).boxed(),
        Type::String => any::<String>().prop_map(Value::string).boxed(),
        Type::List(element) | Type::Set(element) => prop::collection::vec(value_of(element), 0..20)
            .prop_map(Value::List)
            .boxed(),
        Type::Map(element) => prop::collection::btree_map(any::<String>().prop_map(normal), value_of(element), 0..20)
            .prop_map(Value::Map)
            .boxed(),
        Type::Tuple(elements) => elements
            .iter()
            .map(value_of)
            .collect::<Vec<_>>()
            .prop_map(Value::List)
            .boxed(),
        Type::Object(attributes) => {
            let names: Vec<String> = attributes.keys().cloned().collect();
            attributes
                .values()
                .map(value_of)
                .collect::<Vec<_>>()
                .prop_map(move |values| Value::Map(names.iter().cloned().zip(values).collect()))
                .boxed()
        }
        Type::Dynamic => (any::<bool>(), any_number(), any::<String>())
            .prop_flat_map(|(pick, number, text)| {
                prop_oneof![
                    Just((Type::Bool, Value::Bool(pick))),
                    Just((Type::Number, Value::Number(number))),
                    Just((Type::list(Type::String), Value::List(vec![Value::string(text)]))),
                ]
            })
            .prop_map(|inner| Value::Dynamic(Box::new(inner)))
            .boxed(),
    };
    prop_oneof![8 => known, 1 => Just(Value::Null), 1 => Just(Value::UNKNOWN)].boxed()
}

fn typed_value() -> impl Strategy<Value = (Type, Value)> {
    any_type().prop_flat_map(|ty| {
        let values = value_of(&ty);
        (Just(ty), values)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn a_value_survives_the_wire((ty, value) in typed_value()) {
        let bytes = encode_msgpack(&value);
        prop_assert_eq!(decode_msgpack(&ty, &bytes), Ok(value));
    }

    #[test]
    fn an_independent_reader_accepts_every_byte_we_write((_, value) in typed_value()) {
        let bytes = encode_msgpack(&value);
        let mut rest = bytes.as_slice();
        rmpv::decode::read_value(&mut rest).expect("valid msgpack");
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn a_type_survives_its_json(ty in any_type()) {
        prop_assert_eq!(Type::from_bytes(&ty.to_bytes()), Ok(ty));
    }

    #[test]
    fn hostile_bytes_are_refused_and_never_panic(ty in any_type(), bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = decode_msgpack(&ty, &bytes);
        let _ = decode_json(&ty, &bytes, Attributes::Exact);
    }

    #[test]
    fn a_cut_value_is_refused((ty, value) in typed_value(), cut in any::<prop::sample::Index>()) {
        let bytes = encode_msgpack(&value);
        let length = cut.index(bytes.len());
        prop_assert!(decode_msgpack(&ty, &bytes[..length]).is_err());
    }
}

fn thing() -> Type {
    Type::object([
        ("name", Type::String),
        ("count", Type::Number),
        ("tags", Type::map(Type::String)),
    ])
}

#[test]
fn every_width_of_integer_and_every_spelling_is_the_same_number() {
    let five: [&[u8]; 11] = [
        &[5],
        &[0xcc, 5],
        &[0xcd, 0, 5],
        &[0xce, 0, 0, 0, 5],
        &[0xcf, 0, 0, 0, 0, 0, 0, 0, 5],
        &[0xd0, 5],
        &[0xd1, 0, 5],
        &[0xd3, 0, 0, 0, 0, 0, 0, 0, 5],
        &[0xca, 0x40, 0xa0, 0, 0],
        &[0xa1, b'5'],
        &[0xa3, b'5', b'.', b'0'],
    ];
    for bytes in five {
        assert_eq!(
            decode_msgpack(&Type::Number, bytes),
            Ok(Value::Number(Number::from(5_i64))),
            "{bytes:02x?}"
        );
    }
    assert_eq!(
        decode_msgpack(&Type::Number, &[0xd0, 0x80]),
        Ok(Value::Number(Number::from(-128_i64)))
    );
    assert_eq!(
        decode_msgpack(&Type::Number, &[0xff]),
        Ok(Value::Number(Number::from(-1_i64)))
    );
}

#[test]
fn large_and_precise_numbers_keep_every_digit() {
    let cases = [
        ("123456789012345678901234567890", "12345678901234567890123456789e1"),
        ("0.1", "1e-1"),
        ("-1e999999999", "-1e999999999"),
        ("18446744073709551615", "18446744073709551615"),
        ("0.5", "0.5"),
        ("1e3", "1000"),
        ("-0.000", "0"),
    ];
    for (text, shown) in cases {
        let number = Number::from_text(text).expect("a number");
        assert_eq!(number.to_string(), shown, "{text}");
        let value = Value::Number(number);
        assert_eq!(
            decode_msgpack(&Type::Number, &encode_msgpack(&value)),
            Ok(value),
            "{text}"
        );
    }
    for text in [
        "",
        "-",
        ".",
        "1e",
        "0x10",
        "NaN",
        "inf",
        "1 ",
        "1_000",
        &"9".repeat(2000),
    ] {
        assert!(Number::from_text(text).is_err(), "{text}");
    }
}

#[test]
fn an_unknown_with_refinements_is_handed_back_as_it_came() {
    // Extension 12 around {1: false}: not null.
    let bytes = [0xc7, 3, 12, 0x81, 1, 0xc2];
    let value = decode_msgpack(&Type::String, &bytes).expect("unknown");
    assert!(value.is_unknown());
    assert_eq!(encode_msgpack(&value), bytes);
    assert_eq!(value, Value::UNKNOWN, "refinements do not make unknowns different");
    // Any other extension is a plain unknown.
    assert_eq!(
        encode_msgpack(&decode_msgpack(&thing(), &[0xd4, 7, 1]).expect("unknown")),
        [0xd4, 0, 0]
    );
}

#[test]
fn a_wrong_value_is_refused_with_its_place() {
    let object = |entries: &[(&str, Value)]| {
        let entries = entries
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        encode_msgpack(&Value::Map(entries))
    };
    let half = Value::Number(Number::from_f64(0.5).expect("a number"));
    let tags = Value::Map([("a".to_owned(), Value::Bool(true))].into());
    let cases = [
        (
            object(&[("name", Value::Null)]),
            "value: attributes are missing: count, tags",
        ),
        (object(&[("nam", Value::Null)]), "value: there is no attribute \"nam\""),
        (
            // Integers are written as text, so half a float stands for a number on the wire.
            object(&[("name", half), ("count", Value::Null), ("tags", Value::Null)]),
            "name: a number where \"string\" is required",
        ),
        (
            object(&[("name", Value::Null), ("count", Value::Null), ("tags", tags)]),
            "tags[\"a\"]: a bool where \"string\" is required",
        ),
        (vec![0xc0, 0xc0], "value: 1 bytes are left over"),
        (vec![0xdf, 0xff, 0xff, 0xff, 0xff], "value: ends after 0 of 1 bytes"),
        (vec![0xc1], "value: 0xc1 is no msgpack marker"),
    ];
    for (bytes, problem) in cases {
        assert_eq!(
            decode_msgpack(&thing(), &bytes).expect_err("refused").to_string(),
            problem
        );
    }
}

#[test]
fn dynamic_values_carry_their_type_and_cannot_nest_for_ever() {
    let value = Value::Dynamic(Box::new((
        Type::list(Type::Bool),
        Value::List(vec![Value::Bool(true), Value::UNKNOWN]),
    )));
    assert_eq!(decode_msgpack(&Type::Dynamic, &encode_msgpack(&value)), Ok(value));
    let deep = (0..200).fold(Value::Null, |inner, _| Value::Dynamic(Box::new((Type::Dynamic, inner))));
    let error = decode_msgpack(&Type::Dynamic, &encode_msgpack(&deep)).expect_err("too deep");
    assert!(error.problem.contains("nested deeper"), "{error}");
    let nested = format!("{}\"string\"{}", "[\"list\",".repeat(100), "]".repeat(100));
    assert!(Type::from_bytes(nested.as_bytes()).is_err());
}

#[test]
fn strings_are_compared_in_normal_form() {
    let decomposed = "e\u{301}";
    assert_eq!(Value::string(decomposed), Value::String("\u{e9}".to_owned()));
    let mut bytes = vec![0xa0 | decomposed.len() as u8];
    bytes.extend(decomposed.as_bytes());
    assert_eq!(decode_msgpack(&Type::String, &bytes), Ok(Value::string("\u{e9}")));
}

#[test]
fn json_state_of_another_version_is_read_leniently_and_a_value_strictly() {
    let json = br#"{"name":"a","count":123456789012345678901234567890,"gone":[1]}"#;
    let state = decode_json(&thing(), json, Attributes::Lenient).expect("state");
    assert_eq!(state.attribute("name"), &Value::string("a"));
    assert_eq!(state.attribute("tags"), &Value::Null);
    let big = Number::from_text("123456789012345678901234567890").expect("a number");
    assert_eq!(state.attribute("count"), &Value::Number(big));
    assert!(decode_json(&thing(), json, Attributes::Exact).is_err());
    let dynamic = decode_json(
        &Type::Dynamic,
        br#"{"type":["list","bool"],"value":[true]}"#,
        Attributes::Exact,
    );
    let expected = Value::Dynamic(Box::new((Type::list(Type::Bool), Value::List(vec![Value::Bool(true)]))));
    assert_eq!(dynamic, Ok(expected));
}

#[test]
fn a_decode_error_never_repeats_the_text_that_it_found() {
    let error = decode_json(
        &thing(),
        br#"{"name": 12, "count": "hunter2", "tags": null}"#,
        Attributes::Exact,
    );
    assert!(!error.expect_err("refused").to_string().contains("hunter2"));
}
