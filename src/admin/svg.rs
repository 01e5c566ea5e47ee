//! What pictures have in common: SVG without scripts or anything from outside, with words for screen readers, readable
//! on light and on dark ground.

use std::fmt::Arguments;
use std::fmt::Write;

/// A picture that is being drawn.
pub(crate) struct Svg(String);

impl Svg {
    /// An empty one of this size in pixels. `title` and `description` say what it shows to those who do not see it;
    /// `style` is added to the common style.
    pub(crate) fn new((width, height): (usize, usize), title: &str, description: &str, style: &str) -> Svg {
        let (title, description) = (escape(title), escape(description));
        Svg(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" role=\"img\" aria-labelledby=\"title desc\">\n\
             <title id=\"title\">{title}</title>\n<desc id=\"desc\">{description}</desc>\n\
             <style>\n{STYLE}{style}</style>\n<rect class=\"ground\" width=\"{width}\" height=\"{height}\"/>\n"
        ))
    }

    /// Draws one piece more.
    pub(crate) fn add(&mut self, piece: Arguments<'_>) {
        self.0.write_fmt(piece).expect("a String takes any text");
        self.0.push('\n');
    }

    /// The picture as text.
    pub(crate) fn finish(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }
}

/// Text that cannot become markup, also in an attribute.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

/// Colours that people with any kind of colour vision can tell apart (Okabe and Ito, 2008), without its black.
pub(crate) const PALETTE: [&str; 7] = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442"];

const STYLE: &str = "\
text { font: 13px system-ui, \"Segoe UI\", Helvetica, Arial, sans-serif; fill: #24292f; }
.strong { font-weight: 600; }
.faint { fill: #57606a; }
.ground { fill: #ffffff; }
.gap { stroke: #ffffff; stroke-width: 2; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .faint { fill: #9198a1; }
  .ground { fill: #0d1117; }
  .gap { stroke: #0d1117; }
}
";
