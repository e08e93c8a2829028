// A peer of the gateway: the standard library's reverse proxy, which does nothing but pass requests on.
//
//	reverse_proxy PORT…
//
// listens on a free port of 127.0.0.1, prints it, and hands the requests to the ports in turn over kept-alive connections.
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"sync/atomic"
)

func main() {
	ports := os.Args[1:]
	var turn atomic.Uint64
	proxy := &httputil.ReverseProxy{
		Rewrite: func(request *httputil.ProxyRequest) {
			request.Out.URL.Scheme = "http"
			request.Out.URL.Host = "127.0.0.1:" + ports[turn.Add(1)%uint64(len(ports))]
			request.Out.URL.Path = "/invoke"
		},
		Transport: &http.Transport{MaxIdleConns: 0, MaxIdleConnsPerHost: 64, DisableCompression: true},
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	log.Fatal(http.Serve(listener, proxy))
}
