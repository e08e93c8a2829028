"""Which route takes a request."""

import pytest

from funclet.core.http_routes import Route, RouteTable

TABLE = RouteTable(
    [
        Route("n/root", "n/root", "/", ("GET",)),
        Route("n/fixed", "n/fixed", "/orders/new", ("ANY",)),
        Route("n/one", "n/one", "/orders/{id}", ("GET", "PUT")),
        Route("n/any", "n/any", "/orders/{order}", ("ANY",)),
        Route("n/late", "n/late", "/orders/{id}", ("GET",)),
        Route("n/items", "n/items", "/orders/{id}/items/{item}", ("GET",)),
        Route("n/rest", "n/rest", "/orders/{rest+}", ("ANY",)),
        Route("n/host", "n/host", "/orders/{id}", ("GET",), "shop.example"),
        Route("n/all", "n/all", "/files/{path+}", ("GET",)),
    ]
)


@pytest.mark.parametrize(
    ("method", "host", "path", "function", "route_key", "parameters"),
    [
        ("GET", "x", "/", "n/root", "GET /", {}),
        ("GET", "x", "/orders/new", "n/fixed", "ANY /orders/new", {}),
        ("GET", "x", "/orders/7", "n/one", "GET /orders/{id}", {"id": "7"}),
        ("DELETE", "x", "/orders/7", "n/any", "ANY /orders/{order}", {"order": "7"}),
        ("GET", "x", "/orders/a%2Fb%20c", "n/one", "GET /orders/{id}", {"id": "a/b c"}),
        ("GET", "x", "/orders/7/items/8", "n/items", "GET /orders/{id}/items/{item}", {"id": "7", "item": "8"}),
        ("POST", "x", "/orders/7/items/8", "n/rest", "ANY /orders/{rest+}", {"rest": "7/items/8"}),
        ("GET", "x", "/orders/new/x", "n/rest", "ANY /orders/{rest+}", {"rest": "new/x"}),
        ("GET", "Shop.Example", "/orders/7", "n/host", "GET /orders/{id}", {"id": "7"}),
        ("PUT", "shop.example", "/orders/7", "n/one", "PUT /orders/{id}", {"id": "7"}),
        ("GET", "x", "/files/a/b/", "n/all", "GET /files/{path+}", {"path": "a/b/"}),
    ],
)
def test_matches(method: str, host: str, path: str, function: str, route_key: str, parameters: dict[str, str]) -> None:
    match = TABLE.match(method, host, path)
    assert match is not None
    assert (match.route.function, match.route_key, match.parameters) == (function, route_key, parameters)


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/"), ("GET", "/orders"), ("GET", "/orders/"), ("POST", "/files/a"), ("GET", "/none")]
)
def test_no_match(method: str, path: str) -> None:
    assert TABLE.match(method, "x", path) is None
