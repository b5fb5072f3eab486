// Benthos core with what it lacks: a queue in Redis that drops repeats, as an output and an input.
package main

import (
	"context"
	"net/http"

	_ "github.com/redpanda-data/benthos/v4/public/components/io"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"
)

func main() {
	// http_client uses this one, which by itself keeps two connections to a host.
	if transport, ok := http.DefaultTransport.(*http.Transport); ok {
		transport.MaxIdleConns, transport.MaxIdleConnsPerHost = 256, 256
	}
	service.MustRegisterOutput("redis_once", outputSpec, newOutput)
	service.MustRegisterInput("redis_group", inputSpec, newInput)
	service.RunCLI(context.Background())
}
