// The stock HttpClient of the JDK, as it comes: it offers HTTP/2 with each first request, by Upgrade: h2c.
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.stream.Collectors;

public class Main {
    static String base;
    static String key;

    static HttpRequest.Builder request(String path) {
        return HttpRequest.newBuilder(URI.create(base + path)).header("Authorization", "Bearer " + key);
    }

    static HttpRequest post(String path, String body) {
        return request(path).header("Content-Type", "application/json").POST(BodyPublishers.ofString(body)).build();
    }

    static void show(String name, HttpRequest request) throws Exception {
        // A client of its own for each: the offer stands in the first request of a connection.
        var client = HttpClient.newHttpClient();
        var answer = client.send(request, BodyHandlers.ofString());
        System.out.println(name + " " + answer.statusCode() + " " + answer.body().replace("\n", "\\n"));
        var again = client.send(request, BodyHandlers.ofLines());
        System.out.println(name + "-again " + again.statusCode() + " " + again.body().collect(Collectors.joining("\\n")));
    }

    public static void main(String[] arguments) throws Exception {
        base = arguments[0];
        key = arguments[1];
        var message = "\"model\": \"org_auto\", \"messages\": [{\"role\": \"user\", \"content\": \"" + arguments[2] + "\"}]";
        show("models", request("/v1/models").build());
        show("chat", post("/v1/chat/completions", "{" + message + "}"));
        show("chat-streamed", post("/v1/chat/completions", "{\"stream\": true, " + message + "}"));
        show("messages", post("/v1/messages", "{\"max_tokens\": 100, " + message + "}"));
        show("messages-streamed", post("/v1/messages", "{\"max_tokens\": 100, \"stream\": true, " + message + "}"));
        show("responses", post("/v1/responses", "{\"model\": \"org_auto\", \"input\": \"" + arguments[2] + "\"}"));
        show("bad", post("/v1/chat/completions", "{\"messages\": 7}"));
    }
}
