//! `name=value` words, on the command line and in commands.

use crate::Failure;
use std::collections::HashMap;
use std::str::FromStr;

/// Parsed `name=value` words. Names nobody asks for are ignored: the callers are our own benches.
#[derive(Debug)]
pub struct Arguments(HashMap<String, String>);

impl Arguments {
    pub fn parse(words: &[impl AsRef<str>]) -> Result<Self, Failure> {
        let mut map = HashMap::new();
        for word in words {
            let word = word.as_ref();
            let (name, value) =
                word.split_once('=').ok_or_else(|| format!("cannot read {word:?}: expected name=value"))?;
            map.insert(name.to_owned(), value.to_owned());
        }
        Ok(Self(map))
    }

    /// A command line of the protocol: its first word, and its arguments.
    pub fn command(line: &str) -> Result<(&str, Self), Failure> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (name, rest) = words.split_first().ok_or("expected a command")?;
        Ok((name, Self::parse(rest)?))
    }

    pub fn text(&self, name: &str) -> Result<&str, Failure> {
        Ok(self.0.get(name).ok_or_else(|| format!("missing {name}=..."))?)
    }

    pub fn required<T: FromStr>(&self, name: &str) -> Result<T, Failure> {
        let text = self.text(name)?;
        text.parse().map_err(|_| format!("cannot read {name}={text:?}").into())
    }

    pub fn optional<T: FromStr>(&self, name: &str) -> Result<Option<T>, Failure> {
        if self.0.contains_key(name) { self.required(name).map(Some) } else { Ok(None) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_a_word_and_named_values() {
        let (name, arguments) = Arguments::command("requests count=5 parallel=2").unwrap();
        assert_eq!(name, "requests");
        assert_eq!(arguments.required::<u64>("count").unwrap(), 5);
        assert_eq!(arguments.optional::<u64>("absent").unwrap(), None);
        assert!(arguments.required::<u64>("absent").is_err());
    }

    #[test]
    fn what_is_not_a_named_value_is_refused() {
        assert!(Arguments::command("bulk 512").is_err());
        assert!(Arguments::command("").is_err());
        assert!(Arguments::command("bulk bytes=many").unwrap().1.required::<u64>("bytes").is_err());
    }
}
