//! Parses the value of `--by`: key columns, with their names in the output.

use winnow::combinator::{alt, delimited, opt, preceded, repeat, separated};
use winnow::prelude::*;
use winnow::token::take_while;

use super::Failure;
use crate::input::KeyColumn;

/// Parses key columns such as `family,run=seed,"a,b"`: names between commas, each after a name for the output and `=`, if that
/// differs. A name with a comma or `=` is written in double quotes, and a double quote within them is doubled.
pub fn key_columns(text: &str) -> Result<Vec<KeyColumn>, Failure> {
    separated(1.., key, ',').parse(text).map_err(|error| {
        let rest = text.get(error.offset()..).unwrap_or_default();
        Failure::usage(format!(
            "--by {text}: write COLUMN or NAME=COLUMN between commas, and names with `,` or `=` in double quotes \
             (at `{rest}`)"
        ))
    })
}

/// Parses names between commas, each of which may stand in double quotes.
pub fn names(flag: &str, text: &str) -> Result<Vec<String>, Failure> {
    separated(1.., name, ',').parse(text).map_err(|error| {
        let rest = text.get(error.offset()..).unwrap_or_default();
        let reason = "write names between commas, and those with `,` or `=` in double quotes";
        Failure::usage(format!("{flag} {text}: {reason} (at `{rest}`)"))
    })
}

fn key(input: &mut &str) -> ModalResult<KeyColumn> {
    let (first, second) = (name, opt(preceded('=', name))).parse_next(input)?;
    Ok(match second {
        Some(column) => KeyColumn::renamed(column, first),
        None => first.into(),
    })
}

fn name(input: &mut &str) -> ModalResult<String> {
    let part = alt((take_while(1.., |c: char| c != '"'), "\"\"".value("\"")));
    let joined = repeat(1.., part).fold(String::new, |joined: String, part: &str| joined + part);
    let plain = take_while(1.., |c: char| !matches!(c, ',' | '=' | '"'));
    let plain = plain.map(|name: &str| name.trim().to_owned()).verify(|name: &String| !name.is_empty());
    alt((delimited('"', joined, '"'), plain)).parse_next(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_may_be_renamed_and_quoted() {
        let shown = |text: &str| -> Vec<(String, String)> {
            let keys = key_columns(text).unwrap_or_else(|_| panic!("{text} is refused"));
            keys.into_iter().map(|key| (key.name, key.column)).collect()
        };
        let same = |name: &str| (name.to_owned(), name.to_owned());
        assert_eq!(shown("family"), [same("family")]);
        assert_eq!(shown("family, metric"), [same("family"), same("metric")]);
        assert_eq!(shown("run=seed,x"), [("run".to_owned(), "seed".to_owned()), same("x")]);
        assert_eq!(shown(r#""a,b","c=d""#), [same("a,b"), same("c=d")]);
        assert_eq!(
            shown(r#"k="say ""x""",% kept"#),
            [("k".to_owned(), "say \"x\"".to_owned()), same("% kept")]
        );
        for text in ["", ",", "a,", "a=", "=a", "a=b=c", r#""a"#, r#"a"b""#, r#""""#] {
            assert!(key_columns(text).is_err(), "{text}");
        }
    }
}
