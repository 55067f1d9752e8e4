#!/usr/bin/env escript
%% Erlang/OTP's ssl. Each line of standard input asks for a server: ADDRESS PORT CHAIN.pem KEY.pem VERSION,VERSION

main([]) ->
    {ok, _} = application:ensure_all_started(ssl),
    read().

read() ->
    case io:get_line("") of
        Line when is_list(Line) ->
            [Address, Port, Chain, Key, Names] = string:lexemes(Line, " \n"),
            Versions = [list_to_atom(Name) || Name <- string:lexemes(Names, ",")],
            listen(Address, list_to_integer(Port), Chain, Key, Versions),
            read();
        _ ->
            timer:sleep(infinity)
    end.

listen(Address, Port, Chain, Key, Versions) ->
    {ok, Ip} = inet:parse_address(Address),
    Suites = lists:append([ssl:cipher_suites(all, Version) || Version <- Versions]),
    {ok, Listener} = ssl:listen(Port, [
        {ip, Ip}, {reuseaddr, true}, {backlog, 128}, {active, false}, {log_level, none},
        {certfile, Chain}, {keyfile, Key}, {versions, Versions}, {ciphers, Suites}
    ]),
    spawn(fun() -> accept(Listener) end).

accept(Listener) ->
    {ok, Connection} = ssl:transport_accept(Listener),
    Server = spawn(fun() -> receive go -> serve(Connection) end end),
    ssl:controlling_process(Connection, Server),
    Server ! go,
    accept(Listener).

serve(Connection) ->
    case ssl:handshake(Connection, 10000) of
        {ok, Tls} ->
            ssl:recv(Tls, 0, 10000),
            ssl:close(Tls);
        _ ->
            ok
    end.
