//! Just enough XML to answer in: elements, texts, lists of `<item>`.

/// An answer that is being written.
#[derive(Debug, Default)]
pub(crate) struct Xml(String);

impl Xml {
    /// The finished answer of an operation.
    pub(crate) fn response(action: &str, request_id: &str, write: impl FnOnce(&mut Xml)) -> String {
        let mut body = Xml::default();
        body.text("requestId", request_id);
        write(&mut body);
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{action}Response xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">{}</{action}Response>",
            body.0
        )
    }

    /// An element with a text.
    pub(crate) fn text(&mut self, name: &str, value: impl std::fmt::Display) {
        self.0
            .push_str(&format!("<{name}>{}</{name}>", escape(&value.to_string())));
    }

    /// A text inside the current element.
    pub(crate) fn raw(&mut self, value: &str) {
        self.0.push_str(&escape(value));
    }

    /// An element with a text, if there is one.
    pub(crate) fn maybe(&mut self, name: &str, value: Option<impl std::fmt::Display>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// An element with others in it.
    pub(crate) fn node(&mut self, name: &str, write: impl FnOnce(&mut Xml)) {
        self.0.push_str(&format!("<{name}>"));
        write(self);
        self.0.push_str(&format!("</{name}>"));
    }

    /// A list: each value in an `<item>`.
    pub(crate) fn list<T>(
        &mut self,
        name: &str,
        values: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Xml, T),
    ) {
        self.node(name, |x| {
            for value in values {
                x.node("item", |x| write(x, value));
            }
        });
    }
}

/// Text that is safe inside an element.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // Characters that XML 1.0 cannot carry at all.
            c if c.is_control() && !matches!(c, '\t' | '\n' | '\r') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::Xml;

    #[test]
    fn an_answer_is_escaped_and_nested() {
        let got = Xml::response("Test", "r-1", |x| {
            x.list("tagSet", ["a<b", "c&d"], |x, v| x.text("value", v));
        });
        let want = "<requestId>r-1</requestId><tagSet><item><value>a&lt;b</value></item><item><value>c&amp;d</value></item></tagSet>";
        assert!(got.contains(want), "{got}");
    }
}
