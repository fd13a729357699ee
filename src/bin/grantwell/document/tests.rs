use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn yaml_and_json_are_the_same() {
    let expected =
        json!({ "name": "a", "clients": [{ "client_id": "x", "scope": "read", "access_token_lifetime": 60 }] });
    for text in [
        "name: a\nclients:\n  - client_id: x\n    scope: read\n    access_token_lifetime: 60\n",
        "---\nname: a\nclients:\n- {client_id: x, scope: read, access_token_lifetime: 60}\n...\n",
        "%YAML 1.2\n---\nname: a\r\nclients:\r\n- {client_id: x, scope: read, access_token_lifetime: 60}\r\n",
        "name: a\nclients:\n- client_id: &id x\n  scope: read\n  <<: {access_token_lifetime: 60}\n",
        "{name: a, clients: [{client_id: x, scope: read, access_token_lifetime: 60}]}",
        r#"{"name":"a","clients":[{"client_id":"x","scope":"read","access_token_lifetime":60}]}"#,
    ] {
        assert_eq!(parse(text), Ok(expected.clone()), "{text}");
    }
    assert_eq!(parse(r#"["\ud83d\ude00\/"]"#), Ok(json!(["😀/"])), "an escape of JSON");
    for nothing in ["", " \n", "# nothing\n", "---\n", "---\n...\n", "~"] {
        assert_eq!(parse(nothing), Ok(Value::Null), "{nothing:?}");
    }
}

#[test]
fn a_word_is_what_yaml_1_2_says_and_no_number_has_two_readings() {
    for (written, expected) in [
        ("no", json!("no")),
        ("on", json!("on")),
        ("yes", json!("yes")),
        ("y", json!("y")),
        ("true", json!(true)),
        ("False", json!(false)),
        ("null", Value::Null),
        ("~", Value::Null),
        ("", Value::Null),
        ("123", json!(123)),
        ("0", json!(0)),
        ("1e3", json!(1000.0)),
        ("1_000", json!("1_000")),
        ("2026-11-28", json!("2026-11-28")),
        ("2026-11-28T09:45:00Z", json!("2026-11-28T09:45:00Z")),
        ("10:30", json!("10:30")),
        ("'007'", json!("007")),
        ("\"true\"", json!("true")),
        ("a007", json!("a007")),
        ("v1.007", json!("v1.007")),
    ] {
        assert_eq!(parse(&format!("a: {written}\n")), Ok(json!({ "a": expected })), "{written}");
    }
    for (text, position) in [
        ("client_id: 007\n", "1:12"),
        ("a: [1, -012]\n", "1:8"),
        ("a: &x 010\nb: *x\n", "1:7"),
        ("a:\n  - {b: '01', c: 08}\n", "2:18"),
        ("007", "1:1"),
    ] {
        let fault = parse(text).expect_err(text).of("f");
        let expected = "a number with a leading zero, which readers of YAML take for different numbers: write it in quotes if it is \
                        text, or without the zero";
        assert_eq!(fault, format!("f:{position}: {expected}"), "{text}");
    }
}

#[test]
fn what_is_not_read_is_said_in_plain_words_with_line_and_column() {
    let deep = format!("a: {}1{}", "[".repeat(100), "]".repeat(100));
    let deep_json = format!("{{\"a\": {}1{}}}", "[".repeat(200), "]".repeat(200));
    let deep_block: String = (0..100).map(|level| " ".repeat(level) + "a:\n").collect();
    let rows: &[(&str, &str)] = &[
        ("name: a\nname: b\n", "2:1: the member 'name' is there twice"),
        ("a: {sec7et: 1, sec7et: 2}\n", "1:16: a member is there twice"),
        ("{\"name\": \"a\", \"name\": \"b\"}", "1:26: a member is there twice"),
        ("name: [a\n", "1:7: the file ends before something that was begun: it may have been cut off"),
        ("name: 'a\n", "1:7: the file ends before something that was begun: it may have been cut off"),
        ("{\"name\": ", "1:9: the file ends before something that was begun: it may have been cut off"),
        ("{\"name\": \"a\"", "1:12: the file ends before something that was begun: it may have been cut off"),
        ("{name: a, ", "1:1: the file ends before something that was begun: it may have been cut off"),
        ("{\"name\" \"a\"}", "1:9: a colon is missing after the name of a member"),
        ("{\"name\": \"a\" \"b\": 1}", "1:14: a comma is missing, or a bracket that closes"),
        ("{\"name\": a}x", "1:10: a value is missing, or a text is not in double quotes"),
        ("name: a\n\tscope: b\n", "2:1: a tab: YAML indents with spaces only"),
        ("clients:\n\t- a\n", "2:1: a tab: YAML indents with spaces only"),
        (
            "name: a: b\n",
            "1:8: a colon where no member can begin: indent the line as the members around it, and put a text that has a colon into quotes",
        ),
        (
            "name: a\n  scope: b\n",
            "2:8: a colon where no member can begin: indent the line as the members around it, and put a text that has a colon into quotes",
        ),
        ("name: a\nscope\n", "2:1: the name of a member needs a colon and a space after it"),
        ("- a\nb: c\n", "2:1: the line is not indented as those around it"),
        (
            "a: *nobody\n",
            "1:4: an alias (*) of an anchor (&) that is not there before it; a text that begins with * has to be in quotes",
        ),
        ("a: @b\n", "1:4: a character that begins no text: put the text into quotes"),
        (
            "a: \"\\d\"\n",
            "1:4: an escape (\\) that YAML does not have: write \\\\ for a backslash, or use single quotes",
        ),
        ("a: 'b' c\n", "1:8: something follows after a text in quotes"),
        ("a: ]\n", "1:4: a bracket that closes what was not opened"),
        ("a: !secret b\n", "1:12: a tag (!) that means nothing here; a text that begins with ! has to be in quotes"),
        ("a: .inf\n", "1:4: a number that is not finite: write it in quotes if it is text"),
        ("~: a\n", "1:1: a member without a name"),
        ("[a]: b\n", "1:1: the name of a member is not a text"),
        ("<<: a\n", "1:5: << has to be followed by an alias (*) of an object, or by a list of those"),
        ("a: &x [*x]\n", "1:8: an alias (*) stands for what it is part of"),
        (
            "name: a\n---\nname: b\n",
            "3:1: a second document begins, after a line `---` or `...`: write each into a file of its own",
        ),
        (&deep, "1:68: lists and objects are nested too deeply"),
        (&deep_json, "1:133: lists and objects are nested too deeply"),
        (&deep_block, "65:65: lists and objects are nested too deeply"),
    ];
    let told: Vec<String> = rows
        .iter()
        .map(|(text, _)| parse(text).map_or_else(|fault| fault.of("f"), |value| value.to_string()))
        .collect();
    let expected: Vec<String> = rows.iter().map(|(_, expected)| format!("f:{expected}")).collect();
    assert_eq!(told, expected);
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        bomb.extend([format!("a{level}: &a{level} ["), [before.as_str(); 9].join(", "), "]\n".to_owned()]);
    }
    let fault = parse(&bomb).expect_err("more than can be").to_string();
    assert!(fault.ends_with("aliases (*) unfold to more than is read: write out what they stand for"), "{fault}");
}

#[test]
fn bytes_are_text_or_it_is_said_what_they_are() {
    let bytes = |bytes: &[u8]| text(bytes.to_vec()).map_err(|fault| fault.of("f"));
    assert_eq!(bytes(b"\xef\xbb\xbfname: a"), Ok("name: a".to_owned()));
    assert_eq!(bytes(b""), Ok(String::new()));
    let utf_16 = Err("f is in UTF-16, or is not a text: save it as UTF-8".to_owned());
    for wide in [&b"\xff\xfen\0a\0"[..], b"\xfe\xff\0n\0a", b"n\0a\0", b"\0n\0a"] {
        assert_eq!(bytes(wide), utf_16);
    }
    let latin_1 = bytes("name: a\nclient_name: é".replace('é', "e").as_bytes());
    assert!(latin_1.is_ok());
    assert_eq!(
        bytes(b"name: a\nclient_name: Zo\xeb\n"),
        Err("f:2:16: a byte that is not UTF-8: save the file as UTF-8".to_owned())
    );
}

#[test]
fn a_place_is_found_in_yaml_and_in_json() {
    let yaml =
        "# x\nname: a\nclients:\n  - client_id: x\n    jwks:\n      keys:\n        - {kty: EC}\n  - client_id: y\n";
    let outline = Outline::of(yaml).expect("an outline");
    for (place, expected) in [
        ("name", "2:7"),
        ("clients", "4:3"),
        ("clients[1]", "8:5"),
        ("clients[0]: client_id", "4:16"),
        ("clients[0]: jwks: keys[0].kty", "7:17"),
        ("clients[0]: scope", "4:5"),
        ("clients[7]: scope", "4:3"),
        ("", "2:1"),
    ] {
        assert_eq!(outline.position(place).map(|position| position.to_string()).as_deref(), Some(expected), "{place}");
    }
    let json = "{\n\t\"name\": \"a\",\n\t\"clients\": [{\"client_id\": 7}]\n}";
    let found = Outline::of(json).and_then(|outline| outline.position("clients[0]: client_id"));
    assert_eq!(found, Some(Position { line: 3, column: 28 }));
}

proptest! {
    #[test]
    fn a_text_that_is_written_is_read_as_the_same_text(
        text in prop_oneof![any::<String>(), "[-+]?[0-9_.:eE]{1,8}", "(?i)(y|n|yes|no|on|off|true|false|null|~|<<|0x1f|0o7|[.]inf|[.]nan)",
            "[-?:,\\[\\]{}#&*!|>'\"%@` a]{1,6}"]
    ) {
        let written = serde_saphyr::to_string(&json!({ "client_name": text, "contacts": [text] })).expect("YAML");
        prop_assert_eq!(parse(&written), Ok(json!({ "client_name": text, "contacts": [text] })), "{}", written);
    }

    #[test]
    fn no_bytes_make_a_panic_and_no_fault_repeats_them(
        before in ".{0,40}",
        after in prop_oneof![
            Just(Vec::new()),
            "[ -~\n]{0,8}".prop_map(String::into_bytes),
            proptest::collection::vec(any::<u8>(), 0..60)
        ],
        shape in 0..6_usize,
        cut in any::<prop::sample::Index>(),
    ) {
        let written = match shape {
            0 => format!("{before}client_secret: {SECRET}\n"),
            1 => format!("{before}{{\"client_secret\": \"{SECRET}\"\n"),
            2 => format!("name: a\nclients:\n- client_secret:{SECRET}\n{before}"),
            3 => format!("a: {{{SECRET}: 1, {SECRET}: 2}}{before}"),
            4 => format!("a: &{SECRET} [*{SECRET}]\n{before}"),
            _ => format!("a: !{SECRET} \"{before}\n{SECRET}\""),
        };
        let mut bytes = written.into_bytes();
        let at = cut.index(bytes.len() + 1);
        bytes.splice(at..at, after);
        let read = text(bytes).and_then(|text| parse(&text));
        if let Err(fault) = read {
            prop_assert!(!fault.of("f").contains(SECRET), "{}", fault);
        }
    }
}

const SECRET: &str = "s3cr3t-0123456789abcdef";
