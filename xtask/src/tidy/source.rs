//! A Rust file as tokens and comments, so that rules do not mistake a string or a comment for code. It has no opinion
//! about what it finds.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A Rust file.
pub(super) struct Source {
    /// Relative to the root.
    pub(super) path: String,
    pub(super) text: String,
    /// Tokens in order, groups opened up; comments and doc comments apart.
    pub(super) tokens: Vec<Token>,
    /// Comments of every kind.
    pub(super) comments: Vec<Comment>,
    /// The line and what is wrong, if this is not Rust.
    pub(super) broken: Option<(usize, String)>,
}

/// A token, or one end of a group.
#[derive(Debug)]
pub(super) struct Token {
    /// As written; a literal is only `"`, so that no rule can match inside.
    pub(super) text: String,
    /// Counted from 1.
    pub(super) line: usize,
    /// Inside of an attribute.
    pub(super) in_attribute: bool,
    /// Below `#[cfg(test)]` or `#[cfg(feature = "std")]`.
    pub(super) conditional: bool,
}

/// A comment or doc comment, which may have several lines.
#[derive(Debug)]
pub(super) struct Comment {
    /// Of its first line, counted from 1.
    pub(super) line: usize,
    pub(super) text: String,
}

impl Source {
    /// Splits a file into tokens and comments.
    pub(super) fn parse(path: String, text: String) -> Self {
        let mut walk = Walk { text: &text, end: 0, tokens: Vec::new(), comments: Vec::new() };
        let broken = match text.parse::<TokenStream>() {
            Ok(stream) => {
                walk.stream(stream, Surroundings::default());
                walk.gap(text.len());
                None
            }
            Err(error) => Some((error.span().start().line, error.to_string())),
        };
        let Walk { tokens, comments, .. } = walk;
        Self { path, tokens, comments, broken, text }
    }

    /// The indexes at which this sequence of tokens begins; the pattern's tokens stand apart by spaces.
    pub(super) fn find(&self, pattern: &str) -> Vec<usize> {
        let wanted: Vec<_> = pattern.split(' ').collect();
        let begins = |window: &[Token]| window.iter().map(|token| &token.text).eq(wanted.iter());
        let windows = self.tokens.windows(wanted.len()).enumerate();
        windows.filter(|(_, window)| begins(window)).map(|(index, _)| index).collect()
    }

    /// The token at `index`, if there is one.
    pub(super) fn token(&self, index: usize) -> Option<&Token> {
        self.tokens.get(index)
    }

    /// The text of the token at `index`; empty past the end.
    pub(super) fn text_at(&self, index: usize) -> &str {
        self.token(index).map_or("", |token| token.text.as_str())
    }
}

#[derive(Clone, Copy, Default)]
struct Surroundings {
    in_attribute: bool,
    conditional: bool,
}

/// What stands before a `[`: nothing, the `#` of an outer attribute, the `#!` of an inner one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hash {
    None,
    Outer,
    Inner,
}

struct Walk<'a> {
    text: &'a str,
    /// Byte after the last token; what lies between it and the next token is space and comments.
    end: usize,
    tokens: Vec<Token>,
    comments: Vec<Comment>,
}

impl Walk<'_> {
    fn stream(&mut self, stream: TokenStream, outer: Surroundings) {
        let mut hash = Hash::None;
        // Set by a `#[cfg(...)]` until the item that it belongs to has ended, by `#![cfg(...)]` to the end.
        let mut condition = false;
        let mut condition_for_all = false;
        // Depth of `<...>`, whose commas end no item.
        let mut angles = 0_usize;
        for tree in stream {
            let range = tree.span().byte_range();
            if self.doc_comment(&tree) {
                continue;
            }
            self.gap(range.start);
            let here = Surroundings { conditional: outer.conditional || condition || condition_for_all, ..outer };
            match tree {
                TokenTree::Group(group) => {
                    let attribute = hash != Hash::None && group.delimiter() == Delimiter::Bracket;
                    if attribute && is_condition(&group.stream()) {
                        condition = true;
                        condition_for_all |= hash == Hash::Inner;
                        angles = 0;
                    }
                    let (open, close) = match group.delimiter() {
                        Delimiter::Parenthesis => ("(", ")"),
                        Delimiter::Brace => ("{", "}"),
                        Delimiter::Bracket => ("[", "]"),
                        Delimiter::None => ("", ""),
                    };
                    let inner = Surroundings { in_attribute: here.in_attribute || attribute, ..here };
                    self.push(open, group.span_open(), inner);
                    self.stream(group.stream(), inner);
                    self.gap(group.span_close().byte_range().start);
                    self.push(close, group.span_close(), inner);
                    if group.delimiter() == Delimiter::Brace {
                        condition = false;
                    }
                    hash = Hash::None;
                }
                TokenTree::Punct(punct) => {
                    let character = punct.as_char();
                    hash = match (hash, character) {
                        (_, '#') => Hash::Outer,
                        (Hash::Outer, '!') => Hash::Inner,
                        _ => Hash::None,
                    };
                    self.push(&character.to_string(), punct.span(), here);
                    match character {
                        '<' => angles += 1,
                        '>' => angles = angles.saturating_sub(1),
                        ';' => condition = false,
                        ',' if angles == 0 => condition = false,
                        _ => {}
                    }
                }
                TokenTree::Ident(ident) => {
                    self.push(&ident.to_string(), ident.span(), here);
                    hash = Hash::None;
                }
                TokenTree::Literal(literal) => {
                    self.push("\"", literal.span(), here);
                    hash = Hash::None;
                }
            }
            self.end = self.end.max(range.end);
        }
    }

    /// A doc comment arrives as the tokens `#[doc = "..."]`, each with the place of the comment.
    fn doc_comment(&mut self, tree: &TokenTree) -> bool {
        let range = tree.span().byte_range();
        let written = self.text.get(range.clone()).unwrap_or_default();
        if !written.starts_with("//") && !written.starts_with("/*") {
            return false;
        }
        if range.end > self.end {
            self.gap(range.start);
            self.comments.push(Comment { line: tree.span().start().line, text: written.to_owned() });
            self.end = range.end;
        }
        true
    }

    /// Takes the comments between the last token and the byte `start`.
    fn gap(&mut self, start: usize) {
        let between = self.text.get(self.end..start).unwrap_or_default();
        if between.trim_start().starts_with('/') {
            let space = between.len() - between.trim_start().len();
            let before = self.text.get(..self.end + space).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            self.comments.push(Comment { line, text: between.trim().to_owned() });
        }
        self.end = self.end.max(start);
    }

    fn push(&mut self, text: &str, span: proc_macro2::Span, at: Surroundings) {
        self.tokens.push(Token {
            text: text.to_owned(),
            line: span.start().line,
            in_attribute: at.in_attribute,
            conditional: at.conditional,
        });
        self.end = self.end.max(span.byte_range().end);
    }
}

/// Whether this is the inside of `#[cfg(test)]` or `#[cfg(feature = "std")]`, alone or within `all(...)`.
fn is_condition(attribute: &TokenStream) -> bool {
    let mut trees = attribute.clone().into_iter();
    let cfg = matches!(trees.next(), Some(TokenTree::Ident(name)) if name == "cfg");
    let text = trees.map(|tree| tree.to_string()).collect::<String>().replace(' ', "");
    let negated = text.contains("not(") || text.contains("any(");
    cfg && !negated && (text.contains("feature=\"std\"") || text == "(test)" || text.contains("all(test,"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Source {
        Source::parse("a.rs".to_owned(), text.to_owned())
    }

    #[test]
    fn comments_and_strings_are_not_code() {
        let source = parse(
            "//! unsafe\n// unsafe\nfn f() { g(\"unsafe\", r#\"unsafe\"#, 'u'); /* unsafe */ }\n/// unsafe\nfn h() {}\n",
        );
        assert!(source.broken.is_none());
        assert!(source.find("unsafe").is_empty());
        let lines: Vec<_> = source.comments.iter().map(|comment| comment.line).collect();
        assert_eq!(lines, [1, 2, 3, 4]);
    }

    #[test]
    fn comment_at_the_end_and_between_groups_is_found() {
        let source = parse("fn f() {\n    // one\n}\n// two\n");
        let texts: Vec<_> = source.comments.iter().map(|comment| comment.text.as_str()).collect();
        assert_eq!(texts, ["// one", "// two"]);
    }

    #[test]
    fn pattern_is_found_with_its_line() {
        let source = parse("fn f() {}\nuse crate::session::X;\n");
        let [index] = source.find("crate : : session")[..] else { panic!("one match") };
        assert_eq!(source.token(index).unwrap().line, 2);
    }

    #[test]
    fn attribute_tokens_are_marked() {
        let source = parse("#[ignore]\nfn ignore() {}\n#![deny(x)]");
        let marks: Vec<_> = source
            .tokens
            .iter()
            .filter(|token| token.text == "ignore" || token.text == "deny")
            .map(|token| token.in_attribute)
            .collect();
        assert_eq!(marks, [true, false, true]);
    }

    #[test]
    fn condition_ends_with_its_item() {
        let source = parse(
            "#[cfg(feature = \"std\")]\nuse a::b;\nuse c::d;\n#[cfg(test)]\nmod t { use e; }\nuse f;\n\
             #[cfg(not(feature = \"std\"))]\nuse g;\n#[cfg(test)]\nimpl<A, B> h for X {}\n",
        );
        let conditional = |name: &str| source.tokens.iter().find(|token| token.text == name).unwrap().conditional;
        assert!(conditional("b") && conditional("e") && conditional("h"));
        assert!(!conditional("d") && !conditional("f") && !conditional("g"));
    }

    #[test]
    fn inner_condition_holds_to_the_end() {
        let source = parse("#![cfg(test)]\nuse a;\nuse b;\n");
        assert!(source.tokens.last().unwrap().conditional);
    }

    #[test]
    fn broken_file_is_told_with_its_line() {
        let source = parse("fn f() {\n");
        assert!(source.broken.is_some());
    }
}
