//! `ruche token`: keys to the API for programs. A secret is printed once and kept nowhere.
use std::time::Duration;

use clap::Subcommand;
use http::Method;

use crate::api::tokens::{Access, Token, TokenCreate, TokenCreated};
use crate::base::clock::Time;
use crate::base::names::{AccountName, TokenName};
use crate::cli::client::{Write, path, read};
use crate::cli::failure::Failure;
use crate::cli::output::Out;
use crate::cli::session::Session;
use crate::cli::tree::{WriteArgs, one_of};
use crate::cli::values::duration;

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Create a token; its secret is shown once
    #[command(after_help = "Examples:
  ruche token create deploy --access write --account tennis-club --expires 90d
  RUCHE_TOKEN=… ruche --url http://127.0.0.1:7479 site ls")]
    Create {
        name: TokenName,
        /// What it may do
        #[arg(long, default_value = "read", value_parser = one_of::<Access>(&["read", "write"]))]
        access: Access,
        /// Only what belongs to this account
        #[arg(long)]
        account: Option<AccountName>,
        /// After this time it is worth nothing, such as 12h, 90d or 1y [default: never]
        #[arg(long, value_name = "TIME", value_parser = duration)]
        expires: Option<Duration>,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// List the tokens, without their secrets
    Ls,
    /// Remove a token: it is worth nothing at once
    Rm {
        name: TokenName,
        #[command(flatten)]
        write: WriteArgs,
    },
}

pub(crate) async fn run(session: &Session, command: TokenCommand) -> Result<(), Failure> {
    match command {
        TokenCommand::Create { name, access, account, expires, write } => {
            let body = TokenCreate {
                name: name.to_string(),
                access,
                account: account.map(|account| account.to_string()),
                expires: expires.map(|after| Time::now().plus(after).to_string()),
            };
            let doing = format!("create the token {name}");
            let write = Write::new(doing.clone(), Method::POST, path(&["tokens"]), &write).body(&body);
            let done = session.write("Created", write).await?;
            if session.out.json {
                return Ok(());
            }
            // A repeated request is answered without the secret.
            match read::<TokenCreated>(&doing, &done.body).ok().and_then(|created| created.secret) {
                Some(secret) => {
                    session.out.note("This is its secret. It is shown once; keep it in a safe place:");
                    session.out.print(&format!("{secret}\n"))
                }
                None => {
                    session.out.note(&format!(
                        "Its secret was in an answer that was lost. Remove the token with `ruche token rm {name}` and create another one."
                    ));
                    Ok(())
                }
            }
        }
        TokenCommand::Ls => session.list("tokens", &path(&["tokens"]), table).await,
        TokenCommand::Rm { name, write } => {
            let path = path(&["tokens", name.as_str()]);
            session
                .remove(&format!("the token {name}"), " Programs that use it are shut out at once.", path, &write)
                .await
        }
    }
}

fn table(out: &Out, tokens: Vec<Token>) -> String {
    let rows = tokens.into_iter().map(|token| {
        let access = match token.access {
            Access::Read => "read",
            Access::Write => "write",
        };
        let account = token.account.unwrap_or_else(|| "everything".to_owned());
        let expires = token.expires.map_or_else(|| "never".to_owned(), |expires| out.time(&expires));
        [token.name, access.to_owned(), account, out.time(&token.created), expires]
    });
    out.table(["TOKEN", "ACCESS", "FOR", "CREATED", "EXPIRES"], rows)
}
