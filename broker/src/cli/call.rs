//! `jackfield call`: one request, its answer on stdout.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
    str::FromStr,
};

use clap::Args;
use jackfield_client::{AnswerError, Client, Error, Reconnect};
use serde_json::{Map, Value, value::RawValue};

use super::connect::{ConnectArgs, Failure, exit_code, levels, tell, written};

/// Makes one request and prints the answer's data.
#[derive(Debug, Args)]
pub(crate) struct CallArgs {
    /// The command
    #[arg(value_name = "CLASS/SUBCLASS/CMD")]
    command: CommandPath,
    /// The command's data, JSON; "-" reads it from stdin
    #[arg(value_name = "DATA", allow_hyphen_values = true)]
    data: Option<String>,
    /// Print the whole answer, on one line; without it the answer's data alone, indented on a terminal and else on one line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Runs the command: exit status 0 for a good answer, 1 for an error answer or none, 2 for wrong usage.
pub(crate) async fn run(args: CallArgs) -> ExitCode {
    match call(&args).await {
        Ok(Ok(answer)) => exit_code(written(print(&answer))),
        Ok(Err(error)) => {
            tell(&error);
            ExitCode::FAILURE
        }
        Err(failure) => exit_code(Err(failure)),
    }
}

/// What to print: on stdout for a good answer, on stderr for an error answer.
async fn call(args: &CallArgs) -> Result<Result<String, String>, Failure> {
    let data = read_data(args.data.as_deref())?;
    let options = if args.command.is_ping() && !args.connect.asks_for_login() {
        args.connect.anonymous_options()?
    } else {
        args.connect.options()?
    };
    let client = Client::connect(options.reconnect(Reconnect::Never)).await?;
    let CommandPath { class, subclass, cmd } = &args.command;
    let printed = if args.json {
        let message = client.request_message(class, subclass, cmd, data).await?;
        whole(&message)
    } else {
        match client.request(class, subclass, cmd, data).await {
            Ok(data) => {
                Ok(if io::stdout().is_terminal() { pretty(data.get()) } else { one_line(data.get()) })
            }
            Err(Error::Answer(error)) => Err(describe(&error)),
            Err(error) => return Err(error.into()),
        }
    };
    client.close().await;
    Ok(printed)
}

fn read_data(data: Option<&str>) -> Result<Option<Box<RawValue>>, Failure> {
    let text = match data {
        None => return Ok(None),
        Some("-") => io::read_to_string(io::stdin())
            .map_err(|error| Failure::usage(format!("DATA cannot be read from stdin: {error}")))?,
        Some(text) => text.to_owned(),
    };
    let data =
        serde_json::from_str(&text).map_err(|error| Failure::usage(format!("DATA is not JSON: {error}")))?;
    Ok(Some(data))
}

fn print(answer: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{answer}")?;
    stdout.flush()
}

/// A whole answer message on one line.
fn whole(message: &RawValue) -> Result<String, String> {
    let line = one_line(message.get());
    let is_ok = serde_json::from_str::<Map<String, Value>>(message.get())
        .is_ok_and(|message| message.get("result").is_some_and(|result| result == "ok"));
    if is_ok { Ok(line) } else { Err(line) }
}

/// An error answer for people: text and code, and what else it holds.
pub(crate) fn describe(error: &AnswerError) -> String {
    let mut more: Map<String, Value> =
        error.details.as_ref().and_then(|data| serde_json::from_str(data.get()).ok()).unwrap_or_default();
    more.remove("code");
    more.remove("error");
    if more.is_empty() {
        format!("error: {error}")
    } else {
        format!("error: {error} {}", Value::Object(more))
    }
}

/// JSON text without raw newlines, which stand between its tokens only.
pub(crate) fn one_line(json: &str) -> String {
    json.replace(['\n', '\r'], " ")
}

/// JSON text laid out over lines. Works on the text, so that numbers, keys and escapes stay as they came.
fn pretty(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth: usize = 0;
    let mut tokens = json.chars().peekable();
    let skip_space = |tokens: &mut std::iter::Peekable<std::str::Chars<'_>>| {
        while tokens.next_if(|next| next.is_ascii_whitespace()).is_some() {}
    };
    while let Some(token) = tokens.next() {
        match token {
            '"' => {
                out.push('"');
                copy_string(&mut tokens, &mut out);
            }
            '{' | '[' => {
                out.push(token);
                skip_space(&mut tokens);
                if let Some(end) = tokens.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(token);
            }
            ',' => {
                out.push(',');
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            space if space.is_ascii_whitespace() => {}
            other => out.push(other),
        }
    }
    out
}

/// Copies the rest of a string, its closing quote included.
fn copy_string(tokens: &mut impl Iterator<Item = char>, out: &mut String) {
    while let Some(character) = tokens.next() {
        out.push(character);
        match character {
            '"' => return,
            '\\' => out.extend(tokens.next()),
            _ => {}
        }
    }
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

/// A command's full name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CommandPath {
    pub(super) class: String,
    pub(super) subclass: String,
    pub(super) cmd: String,
}

impl CommandPath {
    /// Whether this is the one command that needs no login.
    pub(super) fn is_ping(&self) -> bool {
        (self.class.as_str(), self.subclass.as_str(), self.cmd.as_str()) == ("core", "core", "ping")
    }
}

impl FromStr for CommandPath {
    type Err = String;

    fn from_str(path: &str) -> Result<Self, String> {
        let found = levels(path, usize::MAX)?;
        match found.as_slice() {
            [class, subclass, cmd] => {
                Ok(Self { class: (*class).into(), subclass: (*subclass).into(), cmd: (*cmd).into() })
            }
            [class, cmd] => Err(format!(
                "expected three levels, CLASS/SUBCLASS/CMD; for the subclass \"core\" write {class}/core/{cmd}"
            )),
            other => Err(format!("expected three levels, CLASS/SUBCLASS/CMD; found {}", other.len())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_has_three_levels() {
        let path: CommandPath = "core/user/list".parse().unwrap();
        assert_eq!(
            (path.class.as_str(), path.subclass.as_str(), path.cmd.as_str()),
            ("core", "user", "list")
        );
        assert!("core/core/ping".parse::<CommandPath>().unwrap().is_ping());
        let error = "core/ping".parse::<CommandPath>().unwrap_err();
        assert!(error.contains("CLASS/SUBCLASS/CMD") && error.contains("core/core/ping"), "{error}");
        for path in ["", "core", "a//b", "a/b/c/d", "/a/b"] {
            assert!(path.parse::<CommandPath>().is_err(), "{path}");
        }
    }

    #[test]
    fn data_is_json() {
        assert!(read_data(None).unwrap().is_none());
        assert_eq!(read_data(Some(" {\"a\": 1.0} ")).unwrap().unwrap().get(), "{\"a\": 1.0}");
        assert!(read_data(Some("{a:1}")).is_err());
    }

    #[test]
    fn pretty_keeps_the_text() {
        let json = "{\"b\":[1.00,{},[ ],\"x\\\"},\"],\n\"a\" : {\"n\":12345678901234567890123}}";
        let expected = "{\n  \"b\": [\n    1.00,\n    {},\n    [],\n    \"x\\\"},\"\n  ],\n  \"a\": {\n    \"n\": 12345678901234567890123\n  }\n}";
        assert_eq!(pretty(json), expected);
        assert_eq!(pretty("{}"), "{}");
        assert_eq!(pretty("\"a: b\""), "\"a: b\"");
    }

    #[test]
    fn an_error_is_described_with_what_else_it_holds() {
        let plain = AnswerError::new(100_042, "Unknown command");
        assert_eq!(describe(&plain), "error: Unknown command (code 100042)");
        let more = AnswerError::new(200_001, "busy").with_details(serde_json::json!({"retry": 5}));
        assert_eq!(describe(&more), "error: busy (code 200001) {\"details\":{\"retry\":5}}");
    }

    #[test]
    fn a_whole_answer_is_one_line() {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        assert_eq!(
            whole(&raw("{\"result\":\"ok\",\n\"tid\":1}")),
            Ok("{\"result\":\"ok\", \"tid\":1}".into())
        );
        assert!(whole(&raw("{\"result\":\"error\",\"tid\":1}")).is_err());
    }
}
