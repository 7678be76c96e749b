//! Reads tokens (words, numbers, strings, punctuation) and their positions.
//!
//! There is no list of tokens: the parser asks for each token that can come next. Blanks separate tokens, the end of a
//! line ends an item, and `;` starts a comment.

use super::error::{ParseError, Reason};

/// A position in the text.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    /// The byte offset of the position.
    pub(super) at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Cursor { text, at: 0 }
    }

    /// Skips blanks and returns the rest of the text.
    fn rest(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let rest = rest.trim_start_matches([' ', '\t', '\r']);
        self.at = self.text.len() - rest.len();
        rest
    }

    /// Returns the start of the next token.
    pub(super) fn here(&mut self) -> usize {
        self.rest();
        self.at
    }

    /// Returns true if a digit is next.
    pub(super) fn sees_digit(&mut self) -> bool {
        self.rest().starts_with(|c: char| c.is_ascii_digit())
    }

    /// Creates an error at byte `at`.
    pub(super) fn error_at(&self, at: usize, reason: Reason) -> ParseError {
        let before = &self.text[..at];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        ParseError { line, column, reason: Box::new(reason) }
    }

    /// Creates an error at this position: something else was expected.
    pub(super) fn expected(&mut self, expected: impl Into<String>) -> ParseError {
        let rest = self.rest();
        let got = match rest.chars().next() {
            None => "the end of the text".to_owned(),
            Some('\n') => "the end of the line".to_owned(),
            Some(first) => {
                let part_of_word = |c: char| c.is_alphanumeric() || "_.%#@-+".contains(c);
                let word: String = rest.chars().take_while(|c| part_of_word(*c)).take(40).collect();
                format!("{:?}", if word.is_empty() { first.to_string() } else { word })
            }
        };
        self.error_at(self.at, Reason::Expected { expected: expected.into(), got })
    }

    /// Returns true if `mark` is next.
    pub(super) fn sees(&mut self, mark: &str) -> bool {
        self.rest().starts_with(mark)
    }

    /// Consumes `mark` if it is next.
    pub(super) fn eat(&mut self, mark: &str) -> bool {
        let found = self.sees(mark);
        self.at += if found { mark.len() } else { 0 };
        found
    }

    pub(super) fn expect(&mut self, mark: &str) -> Result<(), ParseError> {
        if self.eat(mark) { Ok(()) } else { Err(self.expected(format!("\"{mark}\""))) }
    }

    /// Consumes the longest run of matching characters.
    fn run(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !fits(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// Consumes a word, `[A-Za-z_][A-Za-z0-9_.]*`.
    pub(super) fn word(&mut self) -> Option<&'a str> {
        let starts = self.rest().starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        starts.then(|| self.run(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.'))
    }

    /// A word that may also have dashes, such as `weight-int8`.
    pub(super) fn dashed_word(&mut self) -> Option<&'a str> {
        let starts = self.rest().starts_with(|c: char| c.is_ascii_alphabetic());
        starts.then(|| self.run(|c| c.is_ascii_alphanumeric() || c == '-'))
    }

    /// Consumes `word` if it is the whole next word.
    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let mut ahead = *self;
        let found = ahead.word() == Some(word);
        self.at = if found { ahead.at } else { self.at };
        found
    }

    /// Consumes a run of letters and digits: a label, or a type without blanks.
    pub(super) fn letters(&mut self) -> &'a str {
        self.run(|c| c.is_ascii_alphanumeric() || c == '_')
    }

    /// Consumes a number, `inf`, `-inf` or `nan`, and returns its text.
    pub(super) fn number(&mut self) -> Option<&'a str> {
        let rest = self.rest();
        if let Some(word) = ["-inf", "inf", "nan"].into_iter().find(|word| rest.starts_with(word)) {
            let ends = !rest[word.len()..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
            self.at += if ends { word.len() } else { 0 };
            return ends.then_some(&rest[..word.len()]);
        }
        let bytes = rest.as_bytes();
        let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
        let mut end = usize::from(bytes.first() == Some(&b'-'));
        let whole = digits(end);
        if whole == 0 {
            return None;
        }
        end += whole;
        if bytes.get(end) == Some(&b'.') {
            end += 1 + digits(end + 1);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'-' | b'+')));
            let exponent = digits(end + 1 + sign);
            end += if exponent > 0 { 1 + sign + exponent } else { 0 };
        }
        self.at += end;
        Some(&rest[..end])
    }

    /// Consumes a string in quotes and resolves its escapes.
    pub(super) fn string(&mut self) -> Result<String, ParseError> {
        let start = self.at;
        self.expect("\"")?;
        let mut string = String::new();
        let mut chars = self.text[self.at..].char_indices();
        while let Some((offset, c)) = chars.next() {
            let c = match c {
                '"' => {
                    self.at += offset + 1;
                    return Ok(string);
                }
                '\n' => break,
                '\\' => match chars.next().map(|(_, c)| c) {
                    Some('n') => '\n',
                    Some('r') => '\r',
                    Some('t') => '\t',
                    Some('u') => {
                        let code: String = chars.by_ref().map(|(_, c)| c).take(8).take_while(|c| *c != '}').collect();
                        let code = code.strip_prefix('{').and_then(|digits| u32::from_str_radix(digits, 16).ok());
                        match code.and_then(char::from_u32) {
                            Some(c) => c,
                            None => return Err(self.error_at(self.at + offset, Reason::Escape)),
                        }
                    }
                    Some(c @ ('"' | '\\')) => c,
                    _ => return Err(self.error_at(self.at + offset, Reason::Escape)),
                },
                c => c,
            };
            string.push(c);
        }
        Err(self.error_at(start, Reason::Unterminated))
    }

    /// Consumes the end of a line, any comment before it, and the following lines without items.
    pub(super) fn end_of_line(&mut self) -> Result<(), ParseError> {
        if !self.sees("\n") && !self.sees(";") && !self.rest().is_empty() {
            return Err(self.expected("the end of the line"));
        }
        self.skip_lines();
        Ok(())
    }

    /// Consumes blanks, line ends and comments.
    pub(super) fn skip_lines(&mut self) {
        loop {
            if self.eat(";") {
                let line = self.text[self.at..].find('\n').unwrap_or(self.text.len() - self.at);
                self.at += line;
            } else if !self.eat("\n") {
                return;
            }
        }
    }

    /// Returns true at the end of the text.
    pub(super) fn is_done(&mut self) -> bool {
        self.rest().is_empty()
    }
}
