//! What each route of the protected APIs asks of a token: the setting `GRANTWELL_AUTHORIZER_SCOPES`.

use std::fmt;
use std::str::FromStr;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::core::scope::Scope;

/// The scope that each route needs: a JSON object such as `{"GET /orders":"orders:read","POST /orders":"orders:write"}`.
///
/// A route is named as API Gateway names it, `GET /orders/{id}`, `ANY /files/{path+}` or `$default`; an API's id before it
/// (`a1b2c3 GET /orders`) makes it that API's own, which then counts instead. An empty scope lets every active token pass.
#[derive(Clone, Debug, Default)]
pub struct RouteScopes(Vec<Route>);

/// Why the text is no map of routes. Does not repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedRoutes {
    /// No JSON, or not of this form.
    #[error(r#"it is not a JSON object of texts, such as {{"GET /orders":"orders:read"}}"#)]
    Json,
    /// A member's name is no route.
    #[error(
        "a route is METHOD /PATH or $default, or one of these after an API's id; {{name}} and a last {{name+}} are parameters"
    )]
    Route,
    /// A member's value is no scope.
    #[error("a route's scope is empty, or scope tokens separated by single spaces")]
    Scope,
    /// Two members name one route. Which of them counts is not for this server to guess.
    #[error("a route occurs twice")]
    Repeated,
}

/// What the configuration says of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NamedRoute {
    /// Its name, without the API.
    pub(super) name: String,
    /// What it needs.
    pub(super) scope: Scope,
}

#[derive(Clone, Debug)]
struct Route {
    /// `None`: of whichever API has no such route of its own.
    api: Option<String>,
    name: String,
    /// `None` for `$default`, which names no request.
    template: Option<Template>,
    scope: Scope,
}

#[derive(Clone, Debug)]
struct Template {
    /// `None` for `ANY`.
    method: Option<String>,
    path: String,
    segments: Vec<Segment>,
}

/// Declared in the order in which API Gateway prefers them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Literal(String),
    /// `{name}`: any one segment.
    Parameter,
    /// `{name+}`: all that follow.
    Rest,
}

impl RouteScopes {
    /// What is said of the route that has one of these names at this API: by the API's own routes under any of the names, and
    /// only then by those of every API. Otherwise another API's `GET /x` would open what this one's `ANY /x` guards.
    pub(super) fn named(&self, api: &str, names: &[String]) -> Option<NamedRoute> {
        let of = |api: Option<&str>| {
            let route = |name: &String| self.0.iter().find(|route| route.api.as_deref() == api && route.name == *name);
            names.iter().find_map(route)
        };
        of(Some(api)).or_else(|| of(None)).map(Route::named)
    }

    /// What is said of the route that takes this request, chosen as a REST API chooses: segment by segment a literal before
    /// a parameter, and a method before `ANY`.
    ///
    /// The API may have a route here that nobody named, so that another one seems to take the request. Only a TOKEN event
    /// leaves this to guess.
    pub(super) fn taking(&self, api: &str, method: &str, path: &str) -> Option<NamedRoute> {
        let mut taking: Vec<_> = self.of_api(api).into_iter().filter(|route| route.takes(method, path)).collect();
        taking.sort_by_key(|route| route.rank());
        // The best of the API's own and the best of every API's: which of them the API has is not said, so both have to
        // suffice. Routes that differ in nothing but the names of parameters are several APIs' here, and count alike.
        let best = |is_own: bool| {
            let of_kind = || taking.iter().filter(move |route| route.api.is_some() == is_own);
            let rank = of_kind().next().map(|route| route.rank());
            of_kind().take_while(move |route| Some(route.rank()) == rank)
        };
        let chosen = best(true).next().or_else(|| best(false).next())?;
        let all = best(true).chain(best(false));
        let scope = all.fold(Scope::empty(), |scope, route| scope.union(&route.scope));
        Some(NamedRoute { name: chosen.name.clone(), scope })
    }

    /// Method and path of the requests to this API that a token of this scope may make, of those that can be listed: to
    /// routes with a method and without parameters. Where another route would take the request too, its scope is needed as
    /// well: the API may have only that one.
    pub(super) fn allowed(&self, api: &str, granted: &Scope) -> Vec<(&str, &str)> {
        let routes = self.of_api(api);
        let requests = routes.iter().filter_map(|route| route.template.as_ref()?.request());
        requests
            .filter(|(method, path)| {
                // `$default` takes whatever the API has no other route for.
                let mut taking = routes.iter().filter(|route| route.template.is_none() || route.takes(method, path));
                taking.all(|route| route.scope.is_subset(granted))
            })
            .collect()
    }

    /// The API's own routes, and those of every API that it has no own of the same name for.
    fn of_api(&self, api: &str) -> Vec<&Route> {
        let is_own = |route: &Route| route.api.as_deref() == Some(api);
        let is_replaced = |route: &Route| self.0.iter().any(|other| is_own(other) && other.name == route.name);
        self.0.iter().filter(|route| is_own(route) || route.api.is_none() && !is_replaced(route)).collect()
    }
}

impl FromStr for RouteScopes {
    type Err = MalformedRoutes;

    fn from_str(text: &str) -> Result<Self, MalformedRoutes> {
        let Members(members) = serde_json::from_str(text).map_err(|_| MalformedRoutes::Json)?;
        let mut routes: Vec<Route> = Vec::new();
        for (name, scope) in members {
            let route = Route::parse(&name, &scope)?;
            if routes.iter().any(|other| (&other.api, &other.name) == (&route.api, &route.name)) {
                return Err(MalformedRoutes::Repeated);
            }
            routes.push(route);
        }
        Ok(Self(routes))
    }
}

impl Route {
    fn parse(key: &str, scope: &str) -> Result<Self, MalformedRoutes> {
        let scope = if scope.is_empty() { Ok(Scope::empty()) } else { scope.parse() };
        let scope = scope.map_err(|_| MalformedRoutes::Scope)?;
        let is_api =
            |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let (api, name) = match key.split_once(' ') {
            Some((api, name)) if is_api(api) => (Some(api.to_owned()), name),
            _ => (None, key),
        };
        let template = match name.split_once(' ') {
            None if name == "$default" => None,
            None => return Err(MalformedRoutes::Route),
            Some((method, path)) => Some(Template::parse(method, path).ok_or(MalformedRoutes::Route)?),
        };
        Ok(Self { api, name: name.to_owned(), template, scope })
    }

    fn named(&self) -> NamedRoute {
        NamedRoute { name: self.name.clone(), scope: self.scope.clone() }
    }

    fn takes(&self, method: &str, path: &str) -> bool {
        self.template.as_ref().is_some_and(|template| template.takes(method, path))
    }

    /// Lower is preferred, among routes that take the same request.
    fn rank(&self) -> Option<(&[Segment], bool)> {
        self.template.as_ref().map(|template| (template.segments.as_slice(), template.method.is_none()))
    }
}

impl Template {
    fn parse(method: &str, path: &str) -> Option<Self> {
        const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "ANY"];
        if !METHODS.contains(&method) {
            return None;
        }
        let segments: Vec<_> = path.strip_prefix('/')?.split('/').map(Segment::parse).collect::<Option<_>>()?;
        let (_, before_last) = segments.split_last()?;
        if before_last.iter().any(|segment| matches!(segment, Segment::Rest)) {
            return None;
        }
        let method = Some(method.to_owned()).filter(|method| method != "ANY");
        Some(Self { method, path: path.to_owned(), segments })
    }

    /// The path comes out of an ARN, and begins with a slash.
    fn takes(&self, method: &str, path: &str) -> bool {
        if self.method.as_deref().is_some_and(|own| own != method) {
            return false;
        }
        let mut asked = path.split('/').skip(1);
        for segment in &self.segments {
            match (segment, asked.next()) {
                (Segment::Literal(own), Some(asked)) if own == asked => {}
                (Segment::Parameter, Some(asked)) if !asked.is_empty() => {}
                (Segment::Rest, Some(first)) => return !first.is_empty(),
                _ => return false,
            }
        }
        asked.next().is_none()
    }

    /// Method and path of the one request that the template takes; `None` where it takes several.
    fn request(&self) -> Option<(&str, &str)> {
        let is_one = self.segments.iter().all(|segment| matches!(segment, Segment::Literal(_)));
        is_one.then_some((self.method.as_deref()?, self.path.as_str()))
    }
}

impl Segment {
    fn parse(text: &str) -> Option<Self> {
        let Some(name) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) else {
            // What a policy would take for a pattern is not among them.
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()+,;=:@%".contains(&byte);
            return text.bytes().all(is_plain).then(|| Self::Literal(text.to_owned()));
        };
        let (name, segment) = match name.strip_suffix('+') {
            Some(name) => (name, Self::Rest),
            None => (name, Self::Parameter),
        };
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
        (!name.is_empty() && name.bytes().all(is_name)).then_some(segment)
    }
}

/// The members of a JSON object in their order, repeated ones too.
struct Members(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = object.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(text: &str) -> RouteScopes {
        text.parse().expect("routes")
    }

    fn scope(text: &str) -> Scope {
        text.parse().expect("a scope")
    }

    #[test]
    fn a_route_is_written_as_api_gateway_writes_it() {
        for key in [
            "GET /",
            "GET /orders",
            "ANY /orders/{id}/items",
            "DELETE /files/{path+}",
            "GET /a.b/~c/%20",
            "GET /orders/",
            "$default",
            "a1b2c3 GET /orders",
            "a1b2c3 $default",
        ] {
            assert!(format!(r#"{{"{key}":"a b"}}"#).parse::<RouteScopes>().is_ok(), "{key}");
        }
        for key in [
            "",
            "/orders",
            "GET",
            "GET orders",
            "get /orders",
            "TRACE /orders",
            "GET  /orders",
            "GET /orders ",
            "GET /a*",
            "GET /a?b",
            "GET /{a}b",
            "GET /{}",
            "GET /{+}",
            "GET /{a+}/b",
            "GET /{a b}",
            "GET /é",
            "A1 GET /orders",
            "a1 a2 GET /orders",
            "default",
        ] {
            let error = format!(r#"{{"{key}":""}}"#).parse::<RouteScopes>().map(|_| ()).expect_err(key);
            assert_eq!(error, MalformedRoutes::Route, "{key}");
        }
    }

    #[test]
    fn anything_else_is_refused_and_not_repeated() {
        for (text, expected) in [
            ("", MalformedRoutes::Json),
            ("[]", MalformedRoutes::Json),
            ("null", MalformedRoutes::Json),
            (r#"{"GET /secret":7}"#, MalformedRoutes::Json),
            (r#"{"GET /secret":"a"} x"#, MalformedRoutes::Json),
            (r#"{"GET /secret":" a"}"#, MalformedRoutes::Scope),
            (r#"{"GET /secret":"a  b"}"#, MalformedRoutes::Scope),
            (r#"{"GET /secret":"a","GET /secret":""}"#, MalformedRoutes::Repeated),
            (r#"{"a1 GET /secret":"a","a1 GET /secret":"a"}"#, MalformedRoutes::Repeated),
        ] {
            let error = text.parse::<RouteScopes>().map(|_| ()).expect_err(text);
            assert_eq!(error, expected, "{text}");
            assert!(!error.to_string().contains("secret"));
        }
    }

    #[test]
    fn an_apis_own_route_counts_instead_of_everybodys() {
        let routes =
            scopes(r#"{"GET /orders":"read","a1 GET /orders":"own","POST /orders":"write","$default":"rest"}"#);
        for (api, name, expected) in [
            ("a1", "GET /orders", Some("own")),
            ("a1", "POST /orders", Some("write")),
            ("b2", "GET /orders", Some("read")),
            ("b2", "$default", Some("rest")),
            ("b2", "PUT /orders", None),
            ("b2", "GET /orders/", None),
            ("b2", "a1 GET /orders", None),
        ] {
            let found = routes.named(api, &[name.to_owned()]).map(|route| route.scope);
            assert_eq!(found, expected.map(scope), "{api} {name}");
        }
        assert_eq!(routes.allowed("a1", &scope("read write rest")), [("POST", "/orders")]);
        assert_eq!(routes.allowed("b2", &scope("read write rest")), [("GET", "/orders"), ("POST", "/orders")]);
        // Where the API has no route of its own, $default takes the request.
        assert_eq!(routes.allowed("b2", &scope("read write")), []);
    }

    #[test]
    fn another_apis_route_opens_nothing_that_an_api_guards_itself() {
        let routes = scopes(
            r#"{"GET /orders":"","a1 ANY /orders":"admin","GET /orders/mine":"","a1 GET /orders/{id}":"admin",
               "GET /orders/{id}/items":"admin","a1 GET /orders/{id}/{what}":""}"#,
        );
        let names = ["GET /orders".to_owned(), "ANY /orders".to_owned()];
        let of = |api| routes.named(api, &names).map(|route| route.scope);
        assert_eq!((of("a1"), of("b2")), (Some(scope("admin")), Some(Scope::empty())));
        for (api, path, expected) in [
            ("a1", "/orders", scope("admin")),
            ("b2", "/orders", Scope::empty()),
            ("a1", "/orders/mine", scope("admin")),
            ("a1", "/orders/7/items", scope("admin")),
        ] {
            assert_eq!(routes.taking(api, "GET", path).map(|route| route.scope), Some(expected), "{api} {path}");
        }
    }

    #[test]
    fn a_request_is_taken_by_the_most_specific_route() {
        let routes = scopes(
            r#"{"ANY /{all+}":"a","GET /orders":"b","ANY /orders":"c","GET /orders/{id}":"d","GET /orders/mine":"e",
               "GET /orders/{id}/items":"f","GET /orders/mine/{rest+}":"g","GET /":"h","$default":"i"}"#,
        );
        for (method, path, expected) in [
            ("GET", "/", Some("GET /")),
            ("POST", "/", None),
            ("GET", "/orders", Some("GET /orders")),
            ("PUT", "/orders", Some("ANY /orders")),
            ("GET", "/orders/7", Some("GET /orders/{id}")),
            ("GET", "/orders/mine", Some("GET /orders/mine")),
            ("PUT", "/orders/mine", Some("ANY /{all+}")),
            ("GET", "/orders/", Some("ANY /{all+}")),
            ("GET", "/orders/7/items", Some("GET /orders/{id}/items")),
            ("GET", "/orders/mine/items", Some("GET /orders/mine/{rest+}")),
            ("GET", "/orders/7/items/1", Some("ANY /{all+}")),
            ("get", "/orders", Some("ANY /orders")),
            ("GET", "//", None),
        ] {
            let found = routes.taking("a1", method, path).map(|route| route.name);
            assert_eq!(found.as_deref(), expected, "{method} {path}");
        }
    }

    #[test]
    fn of_routes_that_cannot_be_told_apart_every_scope_is_needed() {
        let routes = scopes(r#"{"GET /orders/{id}":"a","GET /orders/{number}":"b","GET /{x}/{y}":"c"}"#);
        let found = routes.taking("a1", "GET", "/orders/7").expect("a route");
        assert_eq!(found.scope, scope("a b"));
    }

    #[test]
    fn only_requests_of_which_every_route_is_allowed_are_listed() {
        let routes = scopes(
            r#"{"GET /orders":"read","POST /orders":"write","ANY /orders":"","GET /orders/{id}":"read","ANY /status":"",
               "GET /orders/mine":"","GET /health":"","$default":""}"#,
        );
        assert_eq!(routes.allowed("a1", &Scope::empty()), [("GET", "/health")]);
        // The API may have no /orders/mine of its own, and then /orders/{id} takes the request.
        assert_eq!(
            routes.allowed("a1", &scope("read")),
            [("GET", "/orders"), ("GET", "/orders/mine"), ("GET", "/health")]
        );
    }
}
