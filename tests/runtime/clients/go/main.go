// The function of test_clients.py in Go, on aws-lambda-go.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
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

type streamed struct {
	Gate string `json:"gate"`
	End  string `json:"end"`
}

// stream gives its second piece once the gate is there.
func stream(event streamed) (io.Reader, error) {
	reader, writer := io.Pipe()
	go func() {
		io.WriteString(writer, "one ")
		for _, err := os.Stat(event.Gate); err != nil; _, err = os.Stat(event.Gate) {
			time.Sleep(5 * time.Millisecond)
		}
		io.WriteString(writer, "two ")
		if event.End == "fail" {
			writer.CloseWithError(errors.New("half way"))
			return
		}
		io.WriteString(writer, "three")
		writer.Close()
	}()
	return reader, nil
}

func main() {
	if os.Getenv("_HANDLER") == "index.stream" {
		lambda.Start(stream)
	}
	lambda.Start(handle)
}
