// Program dns is CoreDNS with the plugins that an isolated cluster's DNS needs, instead of the fifty of the released binary:
// Services' names from the API, and NXDOMAIN for every other name.
package main

import (
	"github.com/coredns/coredns/coremain"

	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/template"
)

func main() {
	coremain.Run()
}
