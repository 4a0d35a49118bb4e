//! What the servers of a fleet go by after a change, in words.

use std::path::Path;

use fedact_fleet::setup::{Fleet, Server, Taken};
use serde_json::{Value, json};

use crate::exit::{Code, Refusal};

/// A line for each server. `read` is what it means that a server goes by the change.
///
/// # Errors
/// `fleet.toml` cannot be read.
pub fn words(fleet: &Fleet, servers: &[Server], read: &str) -> Result<String, Refusal> {
    let configurations = fleet.server_configurations()?;
    let lines = servers.iter().zip(&configurations);
    Ok(lines
        .map(|(server, path)| line(server, path, read))
        .collect())
}

fn line(server: &Server, configuration: &Path, read: &str) -> String {
    let address = &server.address;
    let file = configuration.display();
    match server.taken {
        Taken::Read => format!("the server at {address} goes by it: {read}\n"),
        Taken::Refused => format!(
            "the server at {address} DOES NOT GO BY IT: it was told to read {file}, and refuses, because something in it cannot change \
             while it runs (its log says what); start it again\n"
        ),
        Taken::Untold => format!(
            "the server at {address} does not go by it yet: it runs elsewhere; copy {file} to it, and run there: nats-server \
             --signal reload\n"
        ),
        Taken::Away => format!(
            "the server at {address} cannot be reached: it goes by it when it is started with {file}\n"
        ),
    }
}

/// The same for programs.
pub fn json(servers: &[Server]) -> Value {
    let shown = servers.iter().map(|server| {
        let taken = match server.taken {
            Taken::Read => "read",
            Taken::Refused => "refused",
            Taken::Untold => "untold",
            Taken::Away => "away",
        };
        json!({"address": server.address, "configuration": taken})
    });
    shown.collect()
}

/// A change that a server refused has not been made.
pub fn code(servers: &[Server]) -> Code {
    let refused = servers.iter().any(|server| server.taken == Taken::Refused);
    if refused { Code::Failed } else { Code::Done }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(taken: Taken) -> Server {
        Server {
            address: "tls://fl.example:4222".to_owned(),
            taken,
        }
    }

    #[test]
    fn every_state_of_a_server_has_its_remedy_and_a_refusal_fails() {
        let said = |taken| {
            line(
                &server(taken),
                Path::new("lab/nats.conf"),
                "it lets pi-4 in",
            )
        };
        assert!(said(Taken::Read).ends_with("goes by it: it lets pi-4 in\n"));
        assert!(said(Taken::Refused).contains("start it again"));
        assert!(said(Taken::Untold).contains("copy lab/nats.conf to it"));
        assert!(said(Taken::Away).contains("when it is started with lab/nats.conf"));
        assert_eq!(
            code(&[server(Taken::Read), server(Taken::Away)]),
            Code::Done
        );
        assert_eq!(
            code(&[server(Taken::Read), server(Taken::Refused)]),
            Code::Failed
        );
        assert_eq!(json(&[server(Taken::Untold)])[0]["configuration"], "untold");
    }
}
