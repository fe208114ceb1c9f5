//! `GET /openapi.json`: every route of [`ROUTES`] as OpenAPI 3.1.
//!
//! Paths, methods, tokens and codes are read from the rows themselves, bodies and answers from the
//! types of the contract; what a row cannot say of itself, its summary and which types, is in
//! [`docs`]. Errors are grouped by status; the codes that a status can have stand in the schema of
//! the header that carries them.

mod docs;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use actix_web::HttpResponse;
use bytes::Bytes;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{
    HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, PathsBuilder,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, PathItem, Ref, RefOr,
    Required, Response, ResponseBuilder, Schema,
};
use utoipa::{PartialSchema as _, ToSchema};

use super::dispatch::Call;
use super::respond::Refusal;
use super::routes::{Guard, ROUTES, Route};
use crate::contract::chat::Page;
use crate::contract::code::ErrorCode;
use crate::contract::headers;
use crate::contract::problem::{PROBLEM_JSON, Problem};
use docs::{Doc, Media};

/// The schemas that the document names, by name.
type Schemas = BTreeMap<String, RefOr<Schema>>;

/// The name of a caller's token in the document.
const CALLER: &str = "caller";
/// The name of an operator's.
const OPERATOR: &str = "operator";

/// The document, written once.
static DOCUMENT: LazyLock<Bytes> =
    LazyLock::new(|| document().to_json().map_or_else(|_| Bytes::new(), Bytes::from));

/// The document.
pub(super) async fn get(_: Call) -> Result<HttpResponse, Refusal> {
    if DOCUMENT.is_empty() {
        return Err(ErrorCode::InternalError.into());
    }
    let json = HttpResponse::Ok().content_type("application/json").body(DOCUMENT.clone());
    Ok(json)
}

fn document() -> OpenApi {
    let mut schemas = Schemas::new();
    let mut paths = PathsBuilder::new();
    for route in ROUTES {
        let Some(method) = method_of(route) else { continue };
        let item = PathItem::new(method, operation(route, &mut schemas));
        // Rows of one path are added to each other.
        paths = paths.path(route.path, item);
    }
    let bearer = |what: &str| {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(what));
        SecurityScheme::Http(scheme.build())
    };
    let components = ComponentsBuilder::new()
        .schemas_from_iter(schemas)
        .security_scheme(CALLER, bearer("An anonymous session's token, or a user's (JWT)."))
        .security_scheme(OPERATOR, bearer("OPS_TOKEN, or for GET OPS_READ_TOKEN."));
    let info = InfoBuilder::new()
        .title("sendcat")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("The reliable backend of AI chat products."));
    OpenApiBuilder::new()
        .info(info.build())
        .paths(paths.build())
        .components(Some(components.build()))
        .build()
}

/// The row's method; the document has no word for any that is not here.
fn method_of(route: &Route) -> Option<HttpMethod> {
    match route.method {
        "GET" => Some(HttpMethod::Get),
        "POST" => Some(HttpMethod::Post),
        "PUT" => Some(HttpMethod::Put),
        "PATCH" => Some(HttpMethod::Patch),
        "DELETE" => Some(HttpMethod::Delete),
        _ => None,
    }
}

fn operation(route: &Route, schemas: &mut Schemas) -> OperationBuilder {
    let doc = docs::of(route.method, route.path);
    let mut operation = OperationBuilder::new().summary(Some(doc.summary));
    for name in parameters_of(route.path) {
        let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path);
        operation = operation.parameter(parameter.required(Required::True).schema(Some(text())));
    }
    for (name, about) in doc.query {
        operation = operation.parameter(query(name, about));
    }
    if route.guards.contains(&Guard::Bearer) {
        operation = operation.security(SecurityRequirement::new(CALLER, Vec::<String>::new()));
    }
    if route.guards.contains(&Guard::Operator) {
        operation = operation.security(SecurityRequirement::new(OPERATOR, Vec::<String>::new()));
    }
    if let Some(body) = doc.body {
        let content = ContentBuilder::new().schema(Some(body(schemas))).build();
        let body = RequestBodyBuilder::new().content("application/json", content);
        operation = operation.request_body(Some(body.required(Some(Required::True)).build()));
    }
    for (status, response) in responses(route, doc, schemas) {
        operation = operation.response(status.to_string(), response);
    }
    operation
}

/// What a row answers, by status.
fn responses(route: &Route, doc: &Doc, schemas: &mut Schemas) -> BTreeMap<u16, Response> {
    let mut codes: BTreeMap<u16, Vec<ErrorCode>> = BTreeMap::new();
    for code in route.codes() {
        codes.entry(code.status()).or_default().push(code);
    }
    let problem = named::<Problem>(schemas);
    let mut all: BTreeMap<u16, Response> =
        codes.iter().map(|(status, codes)| (*status, refusal(codes, &problem))).collect();
    for (status, about, media) in doc.answers {
        let response = ResponseBuilder::new().description(*about);
        let response = match media {
            Media::None => response,
            Media::Text(media_type) => {
                response.content(*media_type, ContentBuilder::new().schema(Some(text())).build())
            }
            Media::Json(shape) => {
                let content = ContentBuilder::new().schema(Some(shape(schemas))).build();
                response.content("application/json", content)
            }
        };
        all.insert(*status, response.build());
    }
    all
}

/// The refusal of one status: a sentence, or a problem document for those who ask for it.
fn refusal(codes: &[ErrorCode], problem: &RefOr<Schema>) -> Response {
    let names: Vec<_> = codes.iter().map(|code| code.name()).collect();
    let code = ObjectBuilder::new()
        .schema_type(SchemaType::new(Type::String))
        .enum_values(Some(names.iter().map(|name| serde_json::Value::from(*name))));
    let header = HeaderBuilder::new().schema(Some(code)).description(Some("Why, for a program."));
    let mut response = ResponseBuilder::new()
        .description(format!("Refused: {}.", names.join(", ")))
        .header(headers::ERROR_CODE, header.build())
        .content("text/plain", ContentBuilder::new().schema(Some(text())).build())
        .content(PROBLEM_JSON, ContentBuilder::new().schema(Some(problem.clone())).build());
    if codes.iter().any(|code| code.default_retry_after().is_some()) {
        let seconds = ObjectBuilder::new().schema_type(SchemaType::new(Type::Integer));
        let about = "Seconds after which asking again is worth it, at least one.";
        let wait = HeaderBuilder::new().schema(Some(seconds)).description(Some(about));
        response = response.header(headers::RETRY_AFTER, wait.build());
    }
    response.build()
}

/// A type's schema by its name, which is kept with all that it names.
fn named<T: ToSchema>(schemas: &mut Schemas) -> RefOr<Schema> {
    let name = T::name();
    if !schemas.contains_key(&*name) {
        schemas.insert(name.to_string(), T::schema());
        keep_what_it_names::<T>(schemas);
    }
    RefOr::Ref(Ref::from_schema_name(name))
}

/// The schema of a page of these, which are kept.
fn page_of<T: ToSchema>(schemas: &mut Schemas) -> RefOr<Schema> {
    named::<T>(schemas);
    Page::<T>::schema()
}

fn keep_what_it_names<T: ToSchema>(schemas: &mut Schemas) {
    let mut others = Vec::new();
    T::schemas(&mut others);
    schemas.extend(others);
}

fn query(name: &str, about: &str) -> Parameter {
    let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Query);
    let parameter = parameter.required(Required::False).description(Some(about));
    parameter.schema(Some(text())).build()
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::new(Type::String))
}

/// The parameters of a path, in braces.
fn parameters_of(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_described_and_nothing_else_is() {
        let mut rows: Vec<_> = ROUTES.iter().map(|route| (route.method, route.path)).collect();
        let mut described: Vec<_> = docs::DOCS.iter().map(|doc| (doc.method, doc.path)).collect();
        rows.sort_unstable();
        described.sort_unstable();
        assert_eq!(described, rows);
        for route in ROUTES {
            assert!(method_of(route).is_some(), "{}", route.method);
            let reads = route.guards.iter().any(|guard| matches!(guard, Guard::Body(_)));
            let doc = docs::of(route.method, route.path);
            assert_eq!(doc.body.is_some(), reads, "{} {}", route.method, route.path);
        }
    }
}
