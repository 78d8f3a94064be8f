//! What a script is made of, once read. The reader is in `parse`.

/// A command of a script.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    /// `A=1 cmd arg >file`
    Simple {
        assign: Vec<(String, Word)>,
        words: Vec<Word>,
        redirects: Vec<Redirect>,
    },
    /// `a | b`
    Pipe(Vec<Node>),
    /// `a && b`
    And(Box<Node>, Box<Node>),
    /// `a || b`
    Or(Box<Node>, Box<Node>),
    /// `! a`
    Not(Box<Node>),
    /// `a; b &`: each with whether it runs in the background
    List(Vec<(Node, bool)>),
    /// `{ a; }` or, with its own variables, `( a )`
    Group {
        body: Box<Node>,
        subshell: bool,
        redirects: Vec<Redirect>,
    },
    /// `if a; then b; elif c; then d; else e; fi`
    If {
        arms: Vec<(Node, Node)>,
        otherwise: Option<Box<Node>>,
        redirects: Vec<Redirect>,
    },
    /// `while a; do b; done` and `until a; do b; done`
    While {
        condition: Box<Node>,
        body: Box<Node>,
        until: bool,
        redirects: Vec<Redirect>,
    },
    /// `for x in a b; do c; done`
    For {
        name: String,
        words: Option<Vec<Word>>,
        body: Box<Node>,
        redirects: Vec<Redirect>,
    },
    /// `case w in a|b) c;; esac`
    Case { word: Word, arms: Vec<(Vec<Word>, Node)> },
    /// `f() { a; }`
    Function { name: String, body: Box<Node> },
}

/// A word before expansion.
pub(crate) type Word = Vec<Part>;

/// A piece of a word.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Part {
    /// Text; if quoted it is never split or matched as a pattern.
    Text { text: String, quoted: bool },
    /// `$x`, `${x:-y}` and the like
    Variable {
        name: String,
        operator: Option<(String, Word)>,
        quoted: bool,
    },
    /// `$(a)`
    Command { body: Node, quoted: bool },
    /// `$((a))`
    Arithmetic { text: Word, quoted: bool },
}

/// `2>file`, `>&2`, `<file`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Redirect {
    /// The descriptor: 0, 1 or 2.
    pub(crate) fd: u32,
    /// What it becomes.
    pub(crate) to: Target,
}

/// Where a redirection leads.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Target {
    /// `>file`
    Write(Word),
    /// `>>file`
    Append(Word),
    /// `<file`
    Read(Word),
    /// `>&2`
    Duplicate(u32),
}
