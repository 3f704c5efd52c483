//! The rights that the role of a server needs in its schema, and which of them it lacks.

use std::fmt;

use sqlx::{PgConnection, Row};

use super::StoreError;

/// What a running server does with each of its tables. The tables of read models are not here: the role that creates
/// them owns them.
const TABLES: &[(&str, &[&str])] = &[
    ("_sqlx_migrations", &["SELECT"]),
    ("events", &["SELECT", "INSERT"]),
    ("snapshots", &["SELECT", "INSERT", "UPDATE"]),
    ("receipts", &["SELECT", "INSERT"]),
    ("claims", &["SELECT", "INSERT", "DELETE"]),
    ("profiles", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("enrollments", &["SELECT", "INSERT"]),
    ("referrals", &["SELECT", "INSERT"]),
    ("writers", &["SELECT", "INSERT", "DELETE"]),
    ("secrets", &["SELECT"]),
    ("epochs", &["SELECT", "INSERT"]),
    ("database_functions", &["SELECT"]),
    ("read_model_copies", &["SELECT", "UPDATE"]),
    ("checkpoints", &["SELECT", "INSERT", "DELETE"]),
    ("api_keys", &["SELECT", "INSERT", "UPDATE"]),
    ("user_roles", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("sessions", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("refresh_tokens", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("mailed_tokens", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("sign_ups", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("sign_up_requests", &["SELECT", "INSERT", "DELETE"]),
    ("second_factors", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("jobs", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("releases", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("expirations", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("mails", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("mail_opt_outs", &["SELECT", "INSERT", "DELETE"]),
    ("referee_addresses", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("sign_up_clients", &["SELECT", "INSERT", "DELETE"]),
    ("fraud_evidence", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("fraud_notes", &["SELECT", "INSERT", "DELETE"]),
    ("notes", &["SELECT", "INSERT", "DELETE"]),
    ("visits", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("seen_tiers", &["SELECT", "INSERT", "DELETE"]),
    ("program_visits", &["SELECT", "INSERT", "UPDATE"]),
    ("reactions", &["SELECT", "INSERT", "UPDATE"]),
    ("reaction_checkpoints", &["SELECT", "INSERT", "DELETE"]),
];

/// What a role does with tables besides, where it creates what is missing.
const TO_CREATE: &[(&str, &[&str])] = &[
    ("_sqlx_migrations", &["INSERT"]),
    ("database_functions", &["INSERT"]),
    ("read_model_copies", &["INSERT", "DELETE"]),
];

/// What a server does with the table of a read model.
const COPY: &[&str] = &["SELECT", "INSERT", "UPDATE", "DELETE"];

/// A role, and the rights that it lacks.
#[derive(Debug)]
pub struct MissingRights {
    role: String,
    /// The schema; `None` if the search path names none that exists and that the role may use.
    schema: Option<String>,
    /// Each right with its object, quoted as in SQL: `INSERT on table events`.
    rights: Vec<String>,
    /// What the database refused, where that takes more than rights, as to change what belongs to another role.
    refused: Option<String>,
}

/// The remedy for a role that shall not create anything.
const LEAVE_IT_TO_THE_OWNER: &str = "let the owner run 'tributary migrate' and 'tributary projections rebuild all', \
    after which a server has nothing to create";

impl fmt::Display for MissingRights {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { role, schema, rights, refused } = self;
        let Some(schema) = schema else {
            return write!(
                formatter,
                "the role {role} may use no schema of its search path: create the schema, or grant usage on it to \
                 {role}"
            );
        };
        if let Some(refused) = refused {
            return write!(
                formatter,
                "the role {role} may not create or change something that is missing in the schema {schema}: \
                 {refused}\n{LEAVE_IT_TO_THE_OWNER}"
            );
        }
        write!(formatter, "the role {role} lacks rights in the schema {schema}:")?;
        for right in rights {
            write!(formatter, "\n  {right}")?;
        }
        write!(formatter, "\nlet the owner of the schema and its tables grant them:")?;
        for right in rights {
            write!(formatter, "\n  grant {right} to {role};")?;
        }
        if rights.iter().any(|right| right.starts_with("CREATE")) {
            write!(formatter, "\nor {LEAVE_IT_TO_THE_OWNER}")?;
        }
        Ok(())
    }
}

/// Checks that the role of the connection has the rights that a running server needs on its tables.
///
/// # Errors
/// [`StoreError::Rights`] if it lacks one.
pub(super) async fn check(connection: &mut PgConnection) -> Result<(), StoreError> {
    match missing(connection, Purpose::Serve).await? {
        Some(missing) => Err(StoreError::Rights(missing)),
        None => Ok(()),
    }
}

/// The error with the rights that are missing, if the database refused to create something for lack of rights.
pub async fn with_missing_rights(connection: &mut PgConnection, error: StoreError) -> StoreError {
    if !is_lack_of_rights(&error) {
        return error;
    }
    match missing(connection, Purpose::Create).await {
        Ok(Some(missing)) => StoreError::Rights(missing),
        Ok(None) => match of_current(connection, error.to_string()).await {
            Ok(missing) => StoreError::Rights(missing),
            Err(_) => error,
        },
        Err(_) => error,
    }
}

/// A refusal by the database to the role of the connection, which lacks no right that could be named.
async fn of_current(
    connection: &mut PgConnection,
    refused: String,
) -> Result<MissingRights, StoreError> {
    let (role, schema) = role_and_schema(connection).await?;
    Ok(MissingRights { role, schema, rights: Vec::new(), refused: Some(refused) })
}

/// The role of the connection, and the schema that it uses, quoted as in SQL.
async fn role_and_schema(
    connection: &mut PgConnection,
) -> Result<(String, Option<String>), StoreError> {
    let row = sqlx::query("select quote_ident(current_user), quote_ident(current_schema())")
        .fetch_one(connection)
        .await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// What the rights are needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// A server on a schema in which everything exists.
    Serve,
    /// Creating something, and using the tables of read models that others have created.
    Create,
}

/// The rights that the role of the connection lacks; `None` if it lacks none.
async fn missing(
    connection: &mut PgConnection,
    purpose: Purpose,
) -> Result<Option<MissingRights>, StoreError> {
    let (role, schema) = role_and_schema(connection).await?;
    let Some(schema) = schema else {
        return Ok(Some(MissingRights { role, schema: None, rights: Vec::new(), refused: None }));
    };
    let mut rights = Vec::new();
    if purpose == Purpose::Create {
        let may_create: bool =
            sqlx::query_scalar("select has_schema_privilege(current_schema(), 'CREATE')")
                .fetch_one(&mut *connection)
                .await?;
        if !may_create {
            rights.push(format!("CREATE on schema {schema}"));
        }
    }
    rights.extend(of_tables(connection, purpose).await?);
    let lacks_some = !rights.is_empty();
    let schema = Some(schema);
    Ok(lacks_some.then_some(MissingRights { role, schema, rights, refused: None }))
}

/// The rights that are missing on tables that exist.
async fn of_tables(
    connection: &mut PgConnection,
    purpose: Purpose,
) -> Result<Vec<String>, StoreError> {
    let to_create = if purpose == Purpose::Create { TO_CREATE } else { &[] };
    let needed = TABLES
        .iter()
        .chain(to_create)
        .flat_map(|(table, rights)| rights.iter().map(|right| (*table, *right)));
    let (mut tables, mut rights): (Vec<String>, Vec<&str>) =
        needed.map(|(table, right)| (table.to_owned(), right)).unzip();
    if purpose == Purpose::Create {
        for copy in copies(connection).await? {
            tables.extend(COPY.iter().map(|_| copy.clone()));
            rights.extend(COPY);
        }
    }
    let rows = sqlx::query(
        "select needed.allowed, quote_ident(needed.name) \
         from unnest($1::text[], $2::text[]) with ordinality as needed (name, allowed, number) \
         cross join lateral to_regclass(\
             quote_ident(current_schema()) || '.' || quote_ident(needed.name)) as known \
         where known is not null and not has_table_privilege(known, needed.allowed) \
         order by needed.number",
    )
    .bind(tables)
    .bind(rights)
    .fetch_all(connection)
    .await?;
    let missing = rows.iter().map(|row| {
        let (right, table): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        Ok(format!("{right} on table {table}"))
    });
    missing.collect()
}

/// The tables of read models that this role may know of.
async fn copies(connection: &mut PgConnection) -> Result<Vec<String>, StoreError> {
    let may_read: Option<bool> = sqlx::query_scalar(
        "select has_table_privilege(to_regclass('read_model_copies'), 'SELECT')",
    )
    .fetch_one(&mut *connection)
    .await?;
    if may_read != Some(true) {
        return Ok(Vec::new());
    }
    Ok(sqlx::query_scalar("select copy from read_model_copies order by copy")
        .fetch_all(connection)
        .await?)
}

/// Whether the database refused something because the role lacks a right.
fn is_lack_of_rights(error: &StoreError) -> bool {
    /// `insufficient_privilege`, and `invalid_schema_name` where the role may use no schema.
    const CODES: [&str; 2] = ["42501", "3F000"];
    use sqlx::migrate::MigrateError;
    let database = match error {
        StoreError::Refused(error)
        | StoreError::Migration(
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _),
        ) => error.as_database_error(),
        _ => None,
    };
    database.is_some_and(|error| error.code().is_some_and(|code| CODES.contains(&&*code)))
}
