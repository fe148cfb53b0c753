// `syncflow-sidecar consumers`: where named consumers stand, asked of the running sidecar.
#pragma once

#include <string>

namespace syncflow::command {

// 0 done, 1 refused or nobody answers, 78 configuration.
int ListConsumers(const std::string& config_path, bool json);
// `cursor`: a cursor, earliest or latest.
int MoveConsumer(const std::string& config_path, const std::string& name,
                 const std::string& cursor);
// `token`: the name of the token whose it shall be; empty: nobody's.
int GiveConsumer(const std::string& config_path, const std::string& name, const std::string& token);
int RemoveConsumer(const std::string& config_path, const std::string& name);

}  // namespace syncflow::command
