use super::*;

const INNER: &str = "#[derive(Debug, thiserror::Error)]\npub enum InnerError {\n    \
                     #[error(\"{code}: full\", code = self.code())]\n    Full,\n}\n\
                     rollmill_errors::coded! {\n    InnerError {\n        Self::Full => \"INN-001\",\n    }\n}\n";

fn found(source: &str) -> Findings {
    let tree = Tree::of(&[("a/src/inner.rs", INNER), ("a/src/outer.rs", source)]);
    check_except(&tree, &[])
}

fn outer(message: &str, field: &str) -> String {
    format!(
        "#[derive(Debug, thiserror::Error)]\npub enum OuterError {{\n    /// It broke.\n    \
         #[error({message})]\n    Broke{field},\n}}\nrollmill_errors::coded! {{\n    OuterError {{\n        \
         Self::Broke {{ .. }} => \"OUT-001\" retried,\n    }}\n}}\n"
    )
}

#[test]
fn a_type_with_a_table_whose_message_quotes_no_code_passes() {
    for (message, field) in [
        ("\"{code}: {what}\", code = self.code()", " { what: String }"),
        ("\"{code}: {0}\", code = self.code()", "(String)"),
        ("\"{code}: {cause}\", code = self.code(), cause = Bare(.0)", "(#[source] InnerError)"),
        (
            "\"{code}: {cause}\", code = self.code(), cause = InWords(.source)",
            " { source: std::io::Error }",
        ),
        ("\"{code}: {source}\", code = self.code()", " { source: tokio::task::InnerError }"),
    ] {
        assert_eq!(found(&outer(message, field)), Findings::new(), "{message}");
    }
}

#[test]
fn a_message_that_shows_a_coded_error_is_named() {
    for (message, field) in [
        ("\"{code}: {0}\", code = self.code()", "(#[from] InnerError)"),
        ("\"{code}: {0}\", code = self.code()", "(#[from] rollmill_other::InnerError)"),
        (
            "\"{code}: {source} in {place}\", code = self.code()",
            " {\n        place: String,\n        #[source]\n        source: InnerError,\n    }",
        ),
    ] {
        let findings = found(&outer(message, field));
        assert_eq!(findings.len(), 1, "{message}: {findings:?}");
        assert!(findings[0].contains("begins with a code"), "{findings:?}");
    }
}

#[test]
fn a_message_that_shows_the_number_of_an_io_error_is_named() {
    for of in ["io::Error", "std::io::Error"] {
        let field = format!(" {{\n        #[source]\n        source: {of},\n    }}");
        let findings = found(&outer("\"{code}: {source}\", code = self.code()", &field));
        assert_eq!(findings.len(), 1, "{of}: {findings:?}");
        assert!(findings[0].contains("number of an I/O error"), "{findings:?}");
    }
}

#[test]
fn a_code_of_two_variants_is_named_and_that_of_two_arms_of_one_is_not() {
    let source = outer("\"{code}: x\", code = self.code()", " { what: String }");
    let again = source.replace("OUT-001", "INN-001");
    let findings = found(&again);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].contains("INN-001 is the code of another error, in "), "{findings:?}");
    let arm = "        Self::Broke { .. } => \"OUT-001\" retried,\n";
    let guarded = arm.replace(" =>", " if x =>").replace(" retried", "");
    assert_eq!(found(&source.replace(arm, &format!("{guarded}{arm}"))), Findings::new());
}

#[test]
fn an_error_that_is_a_text_is_named_unless_it_is_excused() {
    let source = "fn f() -> Result<u8, String> {\n}\nstruct S(Vec<Result<u8, String>>);\n\
                  fn g() -> Result<String, u8> {\n}\n\
                  #[cfg(test)]\nmod tests {\n    fn h() -> Result<u8, String> {\n    }\n}\n";
    let tree = Tree::of(&[("a/src/x.rs", source), ("a/tests/y.rs", source)]);
    assert_eq!(texts(&tree, &[("a/src/x.rs", 2, "so")]), Findings::new());
    let findings = texts(&tree, &[("a/src/x.rs", 1, "so")]);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].contains("a/src/x.rs: errors that are texts on line 1, 3, 1 excused"));
    let findings = texts(&tree, &[("a/src/x.rs", 3, "so"), ("a/src/z.rs", 1, "so")]);
    assert_eq!(findings.len(), 2, "{findings:?}");
}

#[test]
fn a_code_outside_a_table_is_named() {
    for line in [
        "fn f() -> String { format!(\"OUT-007: {x} is gone\") }\n",
        "const GONE: &str = \"OUT-007\";\n",
        "fn f() { Err(\"OUT-007: gone\".into()) }\n",
    ] {
        let findings = found(line);
        assert_eq!(findings.len(), 1, "{line}: {findings:?}");
        assert!(findings[0].contains("OUT-007 stands outside a table"), "{findings:?}");
    }
    for arms in [
        "        Self::A =>\n            \"OUT-009\",\n",
        "        Self::A | Self::B => \"OUT-009\",\n",
    ] {
        let table = format!("rollmill_errors::coded! {{\n    E {{\n{arms}    }}\n}}\n");
        let findings = found(&table);
        let is_named = |finding: &String| finding.contains("OUT-009 is not on the line of its arm");
        assert!(findings.iter().any(is_named), "{findings:?}");
    }
    assert_eq!(found("#[cfg(test)]\nmod tests {\n    const X: &str = \"OUT-007\";\n}\n").len(), 0);
}

#[test]
fn an_error_type_without_a_table_is_named_and_so_is_a_spare_excuse() {
    let source = "#[derive(Debug, thiserror::Error)]\n#[error(\"gone\")]\npub struct Gone;\n";
    let findings = found(source);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].starts_with("a/src/outer.rs:3: Gone has no table"), "{findings:?}");
    let long = source.replace("Debug, thiserror::Error", "\n    Debug,\n    thiserror::Error,\n");
    assert!(found(&long)[0].contains("Gone has no table"), "{long}");
    for by_hand in ["impl std::error::Error for Gone {}\n", "impl<T> Error for Gone<T> {\n}\n"] {
        let findings = found(by_hand);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].contains("Gone has no table"), "{findings:?}");
    }
    let tree = Tree::of(&[("a/src/outer.rs", source)]);
    let gone = ("a/src/outer.rs", "Gone", "no");
    assert_eq!(check_except(&tree, &[gone]), Findings::new());
    let findings = check_except(&tree, &[gone, ("a/src/b.rs", "Other", "no")]);
    assert!(findings.len() == 1 && findings[0].contains("needs no excuse"), "{findings:?}");
}

#[test]
fn an_arm_says_how_its_error_is_handled_unless_it_looks_inside() {
    let source = "coded! {\n    E {\n        Self::A { .. } => \"QQ-001\" usage,\n        \
                  Self::B { x: 1 } => \"QQ-002\" retried,\n        Self::C(error) => (error) permanent,\n        \
                  Self::D => \"QQ-003\" permanent,\n    }\n}\n";
    let tree = Tree::of(&[("a/src/lib.rs", source)]);
    let file = tree.rust().next().unwrap();
    let scanned = scan::scan(&file.text);
    let tables = Source::new(file, &scanned).tables();
    let arms: Vec<_> =
        tables[0].arms.iter().map(|arm| (arm.code.as_deref(), arm.handling)).collect();
    let expected = [
        (Some("QQ-001"), "exit 2"),
        (Some("QQ-002"), ""),
        (None, ""),
        (Some("QQ-003"), "permanent"),
    ];
    assert_eq!(arms, expected);
    assert_eq!(tables[0].lines, (1, 8));
}
