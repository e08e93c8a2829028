// The function of test_clients.py in Go, on aws-lambda-go.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type seen struct {
	Event       json.RawMessage   `json:"event"`
	RequestID   string            `json:"request_id"`
	ARN         string            `json:"arn"`
	Name        string            `json:"name"`
	MemoryMiB   int               `json:"memory_mib"`
	Custom      map[string]string `json:"custom"`
	Trace       string            `json:"trace"`
	RemainingMS int64             `json:"remaining_ms"`
}

func handle(ctx context.Context, event json.RawMessage) (any, error) {
	fmt.Println("doing", string(event))
	switch string(event) {
	case `"fail"`:
		return nil, errors.New("bad value")
	case `"exit"`:
		os.Exit(3)
	case `"sleep"`:
		time.Sleep(time.Minute)
	case `"stream"`:
		return io.Reader(strings.NewReader("one two three")), nil
	}
	call, _ := lambdacontext.FromContext(ctx)
	deadline, _ := ctx.Deadline()
	trace, _ := ctx.Value("x-amzn-trace-id").(string)
	return seen{
		Event:       event,
		RequestID:   call.AwsRequestID,
		ARN:         call.InvokedFunctionArn,
		Name:        lambdacontext.FunctionName,
		MemoryMiB:   lambdacontext.MemoryLimitInMB,
		Custom:      call.ClientContext.Custom,
		Trace:       trace,
		RemainingMS: time.Until(deadline).Milliseconds(),
	}, nil
}

func main() {
	lambda.Start(handle)
}
