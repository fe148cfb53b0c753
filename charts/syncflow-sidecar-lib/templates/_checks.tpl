{{- /* Refuses what could not work, or would work until a bad day. Prints nothing. */ -}}
{{- define "syncflow-sidecar.check" -}}
{{- include "syncflow-sidecar.checkDatabase" . -}}
{{- include "syncflow-sidecar.checkJournal" . -}}
{{- include "syncflow-sidecar.checkFeed" . -}}
{{- include "syncflow-sidecar.checkHttp" . -}}
{{- include "syncflow-sidecar.checkSync" . -}}
{{- end -}}

{{- define "syncflow-sidecar.checkDatabase" -}}
{{- $url := .values.config.postgres.url -}}
{{- /* A password that is a variable, ${NAME}, is no text in the ConfigMap. */ -}}
{{- $plain := regexReplaceAll "(://[^/@:]*):[$][{]\\w+[}]@" $url "${1}@" -}}
{{- $plain = regexReplaceAll "password *= *'?[$][{]\\w+[}]'?([ &]|$)" $plain "" -}}
{{- $named := contains "${DATABASE_URL}" $url -}}
{{- $given := or .values.database.existingSecret .values.extraEnv .values.extraEnvFrom -}}
{{- if and $named (not $given) -}}
{{- fail "the sidecar needs a database: name a Secret with its connection string in sidecar.database.existingSecret, or give sidecar.config.postgres.url and sidecar.database.passwordSecret" -}}
{{- end -}}
{{- if or (regexMatch "://[^/@]*:[^/@]+@" $plain) (regexMatch "password *=" $plain) -}}
{{- fail "sidecar.config.postgres.url holds a password, which everybody who may read ConfigMaps would see: move it to sidecar.database.passwordSecret, or the whole URL to sidecar.database.existingSecret, or write ${NAME} for it and give the variable in sidecar.extraEnv" -}}
{{- end -}}
{{- end -}}

{{- /* A full volume stops the stream; a journal that knows its limit removes old segments instead. */ -}}
{{- define "syncflow-sidecar.checkJournal" -}}
{{- $journal := .values.config.journal -}}
{{- $segment := include "syncflow-sidecar.bytes" (dict "size" ($journal.segment_size | default "64MiB") "setting" "sidecar.config.journal.segment_size") | int64 -}}
{{- $retain := include "syncflow-sidecar.bytes" (dict "size" $journal.retain_size "setting" "sidecar.config.journal.retain_size") | int64 -}}
{{- $pin := include "syncflow-sidecar.bytes" (dict "size" $journal.pin_size_max "setting" "sidecar.config.journal.pin_size_max") | int64 -}}
{{- $volume := include "syncflow-sidecar.bytes" (dict "size" .values.persistence.size "setting" "sidecar.persistence.size") | int64 -}}
{{- $largest := add (max $retain $pin) (mul 2 $segment) -}}
{{- $needed := div (mul $largest 11) 10 -}}
{{- if and (ne .values.persistence.kind "existingClaim") (gt $needed $volume) -}}
{{- fail (printf "the journal may grow to %d bytes (the larger of sidecar.config.journal.retain_size %v and pin_size_max %v, and two segments), which with a tenth more, that the file system takes for itself, is %d, and sidecar.persistence.size is %v: enlarge the volume or lower the limits" $largest $journal.retain_size $journal.pin_size_max $needed .values.persistence.size) -}}
{{- end -}}
{{- if and (eq .values.persistence.kind "existingClaim") (not .values.persistence.existingClaim) -}}
{{- fail "sidecar.persistence.kind is existingClaim: name it in sidecar.persistence.existingClaim" -}}
{{- end -}}
{{- end -}}

{{- define "syncflow-sidecar.checkFeed" -}}
{{- $feed := .values.config.feed -}}
{{- $certificates := or (and .values.tls.existingSecret .values.tls.clientCaKey) ($feed.tls | default dict).client_ca -}}
{{- $guarded := or .values.tokens.existingSecret $feed.tokens_file $certificates $feed.allow_anonymous -}}
{{- if and (not (include "syncflow-sidecar.loopback" $feed.listen)) (not $guarded) -}}
{{- fail (printf "sidecar.config.feed.listen %s can be reached from other pods, and nobody would be asked who they are: name a Secret with tokens in sidecar.tokens.existingSecret, ask for certificates with sidecar.tls.existingSecret and clientCaKey, listen on 127.0.0.1, or set sidecar.config.feed.allow_anonymous: true and let a NetworkPolicy guard it" $feed.listen) -}}
{{- end -}}
{{- end -}}

{{- /* The kubelet asks from outside the pod. */ -}}
{{- define "syncflow-sidecar.checkHttp" -}}
{{- $listen := .values.config.http.listen -}}
{{- $probed := or .values.probes.startup .values.probes.liveness .values.probes.readiness -}}
{{- if and $probed (or (not $listen) (include "syncflow-sidecar.loopback" $listen)) -}}
{{- fail (printf "sidecar.config.http.listen is %q, which the kubelet's probes cannot reach: listen on 0.0.0.0, or switch off sidecar.probes.startup, liveness and readiness" $listen) -}}
{{- end -}}
{{- if eq (include "syncflow-sidecar.feedPort" .) (regexFind "[0-9]+$" $listen) -}}
{{- fail "sidecar.config.feed.listen and sidecar.config.http.listen have the same port" -}}
{{- end -}}
{{- end -}}

{{- define "syncflow-sidecar.checkSync" -}}
{{- with .values.config.sync_api -}}
{{- if and .listen (not (include "syncflow-sidecar.loopback" .listen)) (not .allow_anonymous) -}}
{{- fail (printf "sidecar.config.sync_api.listen %s can be reached from other pods, and SyncFlow's clients do not say who they are: listen on 127.0.0.1, or set sidecar.config.sync_api.allow_anonymous: true and let something in front of it ask" .listen) -}}
{{- end -}}
{{- end -}}
{{- $sync := include "syncflow-sidecar.syncPort" . -}}
{{- if and $sync (has $sync (list (include "syncflow-sidecar.feedPort" .) (regexFind "[0-9]+$" .values.config.http.listen))) -}}
{{- fail "sidecar.config.sync_api.listen has the port of feed.listen or http.listen" -}}
{{- end -}}
{{- end -}}

{{- /* Bytes of "size", as the program writes sizes (64MiB, 10MB, 4096B) or as Kubernetes does (20Gi, 500M). */ -}}
{{- define "syncflow-sidecar.bytes" -}}
{{- $text := .size | toString -}}
{{- if not (regexMatch "^[0-9]+([KMGT]i?|k)?B?$" $text) -}}
{{- fail (printf "%s must be a plain size, as 64MiB or 20Gi, so that it can be compared with others; it is %q" .setting $text) -}}
{{- end -}}
{{- $units := dict "" 1 "k" 1000 "K" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- $unit := regexReplaceAll "^[0-9]+|B$" $text "" -}}
{{- mul (regexFind "^[0-9]+" $text | int64) (get $units $unit | int64) -}}
{{- end -}}
