package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"perigee/client"
	"perigee/client/clienttest"
	"perigee/object"
	"perigee/problem"
)

// server is what the examples talk to; a program of your own gives the address of Perigee.
func server() (address string, end func()) { return clienttest.Serve() }

func Example() {
	address, end := server()
	defer end()
	c, err := client.New(client.Config{BaseURL: address, Key: os.Getenv("PERIGEE_KEY")})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	ctx := context.Background()
	f, created, err := c.Put(ctx, "www", "/hello.txt", strings.NewReader("hello"), client.PutOptions{Size: 5})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(f.Path, f.Size, created)
	for f, err := range c.List(ctx, "www", "/") {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("listed", f.Path)
	}
	// Output:
	// /hello.txt 5 true
	// listed /hello.txt
}

// A change that must not overwrite somebody else's: it is made on the condition that the version is still the one that was seen.
func ExampleClient_Put_conditional() {
	address, end := server()
	defer end()
	c, _ := client.New(client.Config{BaseURL: address})
	ctx := context.Background()
	seen, _, _ := c.Put(ctx, "www", "/counter", strings.NewReader("1"), client.PutOptions{Size: 1})
	c.Put(ctx, "www", "/counter", strings.NewReader("2"), client.PutOptions{Size: 1}) // somebody else
	_, _, err := c.Put(ctx, "www", "/counter", strings.NewReader("2"), client.PutOptions{Size: 1, IfMatch: seen.Version})
	fmt.Println(errors.Is(err, client.ErrPrecondition))
	// Output: true
}

// Problems are told apart by their kind, never by their words.
func ExampleProblem() {
	address, end := server()
	defer end()
	c, _ := client.New(client.Config{BaseURL: address})
	_, _, err := c.Put(context.Background(), "www", "/a", strings.NewReader("b"), client.PutOptions{Size: 1, SHA256: object.HashOf([]byte("a"))})
	fmt.Println(errors.Is(err, problem.Kind("digest-mismatch")), client.Temporary(err))
	// Output: true false
}

// A large file goes on where it was, in this process or in the next.
func ExampleClient_Upload() {
	upload := func(c *client.Client, file []byte, resume string) error {
		_, err := c.Upload(context.Background(), "www", "/large.iso", bytes.NewReader(file), int64(len(file)), client.UploadOptions{
			Resume: resume,
			Begun:  func(address string) { os.WriteFile("large.iso.upload", []byte(address), 0o600) },
		})
		return err
	}
	_ = upload
}
