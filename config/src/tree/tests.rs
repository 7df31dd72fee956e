//! The tree: byte for byte what was read, bounded, and without the parts of XML that reach outside.

use super::*;
use proptest::prelude::*;

fn parse(text: &str) -> Result<Tree, XmlError> {
    Tree::parse(text.as_bytes())
}

fn refused(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

const ODD: &str = "\u{feff}<?xml version='1.0' encoding=\"utf-8\" ?>\r\n<!-- top -->\r\n<?pi x?>\r\n\
    <a  b = 'c'\ttype=\"vector\" >\r\n\t<!-- kept --><x/><y   /> <z>&#65;&amp;<![CDATA[<&]]>\r\nq</z>text\r\n</a >\r\n<!-- end -->\n";

#[test]
fn what_is_not_edited_is_written_back_byte_for_byte() {
    let tree = parse(ODD).unwrap();
    assert_eq!(*tree.render(), ODD);
    assert_eq!(*tree.root().child("z").unwrap().text().unwrap(), "A&<&\nq");
    assert_eq!(tree.root().attribute("type").as_deref(), Some("vector"));
}

#[test]
fn places_count_lines_and_characters_from_one() {
    let tree = parse("<a>\n  <é/><b>\n</b></a>").unwrap();
    let b = tree.root().child("b").unwrap();
    assert_eq!(b.place().to_string(), "line 2, column 7");
}

#[test]
fn a_doctype_is_refused() {
    let bomb = "<!DOCTYPE a [<!ENTITY b \"bbbb\"><!ENTITY c \"&b;&b;\">]>\n<a>&c;</a>";
    assert!(refused(bomb).starts_with("line 1, column 1: a DOCTYPE"));
    assert!(refused("<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><a/>").contains("DOCTYPE"));
    assert!(refused("<!DOCTYPE a [<!ENTITY % p SYSTEM \"http://192.0.2.1/\">%p;]><a/>").contains("DOCTYPE"));
}

#[test]
fn an_entity_other_than_xmls_own_five_is_refused() {
    assert!(refused("<a>\n&xxe;</a>").starts_with("line 2, column 1: only &lt;"));
    assert!(refused("<a b='&xxe;'/>").contains("attribute"));
    assert!(refused("<a>&#0;</a>").contains("character numbers"));
    assert!(refused("<a>&#xD800;</a>").contains("character numbers"));
    assert_eq!(*parse("<a>&lt;&gt;&amp;&apos;&quot;&#x42;</a>").unwrap().root().text().unwrap(), "<>&'\"B");
}

#[test]
fn nesting_over_the_limit_is_refused_and_the_limit_is_not() {
    let nested = |depth: usize| "<a>".repeat(depth) + &"</a>".repeat(depth);
    assert!(parse(&nested(MAX_DEPTH)).is_ok());
    assert!(refused(&nested(MAX_DEPTH + 1)).contains("deeper than 32"));
    assert!(refused(&"<a>".repeat(100_000)).contains("deeper than 32"));
}

#[test]
fn a_file_over_the_limit_is_refused_unread() {
    let large = format!("<a>{}</a>", " ".repeat(MAX_BYTES));
    assert!(refused(&large).contains("at most 8388608"));
}

#[test]
fn attribute_floods_and_doubled_attributes_are_refused() {
    let flood: String = (0..=MAX_ATTRIBUTES).map(|n| format!(" a{n}=''")).collect();
    assert!(refused(&format!("<a{flood}/>")).contains("more than 64 attributes"));
    assert!(refused("<a b='1' b='2'/>").contains("given twice"));
}

#[test]
fn a_cut_off_file_is_refused_with_the_element_that_stays_open() {
    assert_eq!(refused("<a>\n <b>\n"), "line 2, column 2: this element is never closed; the file may be cut off");
    for text in ["", " \n", "<a", "<a b='", "<a><!-- ", "<a><![CDATA[", "<?xml version='1.0'?>"] {
        assert!(parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn text_or_a_second_element_outside_the_root_is_refused() {
    for text in ["x<a/>", "<a/>x", "<a/><b/>", "<a/>&amp;", "<a></a></a>", "<a/><![CDATA[ ]]>"] {
        assert!(parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn encodings_other_than_utf8_are_refused() {
    assert!(refused("<?xml version='1.0' encoding='ISO-8859-1'?><a/>").contains("UTF-8"));
    assert!(Tree::parse(b"\xff\xfe<\0a\0/\0>\0").unwrap_err().what.contains("UTF-16"));
    let error = Tree::parse(b"<a>\n  caf\xe9</a>").unwrap_err();
    assert_eq!(error.to_string(), "line 2, column 6: the file is not UTF-8 here; save it as UTF-8");
    assert!(refused("<?xml version='1.1'?><a/>").contains("XML 1.0"));
    assert!(refused(" <?xml version='1.0'?><a/>").contains("very beginning"));
}

#[test]
fn control_characters_are_refused() {
    assert!(refused("<a>\u{1}</a>").contains("control character"));
    assert!(refused("<a>\0</a>").contains("control character"));
}

#[test]
fn messages_about_markup_show_no_content() {
    let texts =
        ["<a>hunter2&hunter2;</a>", "<a>p<hunter2</a>", "<a>p<hunter2></a>", "<a>p&hunter2</a>", "<a>x</hunter2>"];
    for text in texts {
        let message = refused(text);
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[test]
fn two_edits_change_two_lines() {
    let text = "<a>\n  <!-- one -->\n  <x>1</x>\n\n  <y/>\n  <z a='b'>3<!-- why --></z>\n</a>\n";
    let mut tree = parse(text).unwrap();
    tree.root_mut().child_mut("x").unwrap().set_text("<&>", InnerComments::Keep).unwrap();
    tree.root_mut().child_mut("z").unwrap().set_text("4", InnerComments::Keep).unwrap();
    let expected = text.replace(">1<", ">&lt;&amp;&gt;<").replace(">3<", ">4<");
    assert_eq!(*tree.render(), expected);
    tree.root_mut().child_mut("y").unwrap().set_text("2", InnerComments::Keep).unwrap();
    assert_eq!(*tree.render(), expected.replace("<y/>", "<y>2</y>"));
}

#[test]
fn a_new_element_takes_its_neighbours_indentation() {
    let mut tree = parse("<a>\r\n\t<x/>\r\n\t<z/>\r\n</a>").unwrap();
    let layout = Layout { line_end: "\r\n", depth: 1 };
    tree.root_mut().insert(Element::empty("y"), &["x"], layout);
    assert_eq!(*tree.render(), "<a>\r\n\t<x/>\r\n\t<y></y>\r\n\t<z/>\r\n</a>");
    let mut one_line = parse("<a><x/><z/></a>").unwrap();
    one_line.root_mut().insert(Element::empty("y"), &[], layout);
    assert_eq!(*one_line.render(), "<a><x/><z/><y></y></a>");
    let mut empty = parse("<a/>").unwrap();
    empty.root_mut().insert(Element::empty("y"), &[], Layout { line_end: "\n", depth: 1 });
    assert_eq!(*empty.render(), "<a>\n  <y></y>\n</a>");
}

#[test]
fn a_removed_element_leaves_no_empty_line() {
    let mut tree = parse("<a>\n  <x/>\n  <y/>\n</a>").unwrap();
    assert!(tree.root_mut().remove(1) && !tree.root_mut().remove(1));
    assert_eq!(*tree.render(), "<a>\n  <x/>\n</a>");
}

#[test]
fn a_value_that_xml_cannot_hold_is_refused() {
    let mut tree = parse("<a/>").unwrap();
    assert_eq!(tree.root_mut().set_text("a\0", InnerComments::Keep), Err(Unwritable));
}

/// Text that is often XML, and often nearly.
fn xml_like() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("<a>".to_owned()),
        Just("</a>".to_owned()),
        Just("<b c='d'/>".to_owned()),
        Just("<!-- x -->".to_owned()),
        Just("<![CDATA[ ]] ]]>".to_owned()),
        Just("&amp;".to_owned()),
        Just("&#10;".to_owned()),
        Just("<?p i?>".to_owned()),
        "[ \\r\\n\\t<>&;'\"a-zé]{0,6}",
    ];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| format!("<a>{}</a>", pieces.concat()))
}

proptest! {
    #[test]
    fn whatever_is_read_is_written_back_alike(text in xml_like()) {
        if let Ok(tree) = parse(&text) {
            prop_assert_eq!(&*tree.render(), &text);
        }
    }

    #[test]
    fn random_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Tree::parse(&bytes);
    }

    #[test]
    fn a_text_that_is_set_is_read_back(text in "[^\u{0}-\u{8}\u{b}\u{c}\u{e}-\u{1f}\u{fffe}\u{ffff}]{0,40}") {
        let mut tree = parse("<a><x>old<!-- c --></x></a>").unwrap();
        tree.root_mut().child_mut("x").unwrap().set_text(&text, InnerComments::Keep).unwrap();
        let again = parse(&tree.render()).unwrap();
        prop_assert_eq!(&*again.root().child("x").unwrap().text().unwrap(), &text);
    }
}
