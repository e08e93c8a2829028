module funclet.dev/benchmarks/reverse_proxy

go 1.24
