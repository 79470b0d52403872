// Builds a TorchScript program from source text and tensors, and writes its archive. See bridge.h for the arguments.

#include "bridge.h"
#include "guard.h"

#include <c10/util/Exception.h>
#include <torch/csrc/jit/api/compilation_unit.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/frontend/resolver.h>
#include <torch/csrc/jit/frontend/sugared_value.h>

#include <map>
#include <memory>
#include <ostream>
#include <streambuf>
#include <string>
#include <utility>
#include <vector>

namespace {

using c10::IValue;
using torch::jit::CompilationUnit;
using torch::jit::Module;

const std::string kNamespace = "__torch__.inverse_flow";

// An attribute of a module: a parameter, a buffer or a constant.
struct Attribute {
  std::string name;
  c10::TypePtr type;
  IValue value;
  bool is_parameter = false;
  bool is_buffer = false;
};

// A module before it is made.
struct Node {
  std::string class_name = "Container";
  std::string source;
  std::vector<Attribute> attributes;
  std::vector<std::pair<std::string, std::unique_ptr<Node>>> children;

  Node& child(const std::string& name) {
    for (auto& [existing, node] : children) {
      if (existing == name) return *node;
    }
    children.emplace_back(name, std::make_unique<Node>());
    return *children.back().second;
  }

  Node& at(const std::string& path) {
    Node* node = this;
    for (size_t begin = 0; begin < path.size();) {
      const size_t end = std::min(path.find('.', begin), path.size());
      node = &node->child(path.substr(begin, end - begin));
      begin = end + 1;
    }
    return *node;
  }
};

// What a name that is no local variable means: torch's functions, those of our operator library, and the program's own.
struct Names : torch::jit::Resolver {
  explicit Names(std::shared_ptr<CompilationUnit> unit) : unit(std::move(unit)) {}
  std::shared_ptr<CompilationUnit> unit;

  std::shared_ptr<torch::jit::SugaredValue> resolveValue(const std::string& name, torch::jit::GraphFunction&,
                                                         const torch::jit::SourceRange&) override {
    if (name == "torch") return std::make_shared<torch::jit::BuiltinModule>("aten");
    if (name == "inverse_flow") return std::make_shared<torch::jit::BuiltinModule>("inverse_flow");
    if (auto* function = unit->find_function(c10::QualifiedName(kNamespace + "." + name))) {
      return std::make_shared<torch::jit::FunctionValue>(function);
    }
    return nullptr;
  }
};

class Program {
 public:
  explicit Program(const char* functions) {
    unit_->define(c10::QualifiedName(kNamespace), functions, names_, nullptr);
  }

  // The value of an expression of a given type, and that type.
  std::pair<c10::TypePtr, IValue> evaluate(const std::string& type, const std::string& expression) const {
    CompilationUnit scratch("def value() -> " + type + ":\n  return " + expression + "\n");
    auto& function = scratch.get_function(c10::QualifiedName("value"));
    return {function.getSchema().returns().at(0).type(), function({})};
  }

  // Makes the module and those below it, children first.
  Module make(Node& node) {
    for (auto& [name, child] : node.children) {
      const Module module = make(*child);
      node.attributes.push_back({name, module.type(), module._ivalue()});
    }
    Module module(unit_, class_of(node));
    for (const Attribute& attribute : node.attributes) module.setattr(attribute.name, attribute.value);
    return module;
  }

 private:
  // Modules whose text and attribute types are equal have one class, so a file holds every kind of layer once.
  c10::ClassTypePtr class_of(const Node& node) {
    std::string key = node.class_name + "\n" + node.source;
    for (const Attribute& a : node.attributes) {
      key += "\n" + a.name + ": " + a.type->annotation_str() + (a.is_parameter ? " parameter" : "") +
             (a.is_buffer ? " buffer" : "");
    }
    c10::ClassTypePtr& type = classes_[key];
    if (type != nullptr) return type;
    const int count = ++counts_[node.class_name];
    const c10::QualifiedName name(kNamespace + "." + node.class_name + (count > 1 ? std::to_string(count) : ""));
    type = c10::ClassType::create(name, unit_, /*is_module=*/true);
    unit_->register_type(type);
    for (const Attribute& a : node.attributes) type->addAttribute(a.name, a.type, a.is_parameter, a.is_buffer);
    if (!node.source.empty()) {
      const torch::jit::SimpleSelf self(type);
      unit_->define(name, node.source, names_, &self);
    }
    return type;
  }

  std::shared_ptr<CompilationUnit> unit_ = std::make_shared<CompilationUnit>();
  std::shared_ptr<Names> names_ = std::make_shared<Names>(unit_);
  std::map<std::string, c10::ClassTypePtr> classes_;
  std::map<std::string, int> counts_;
};

// Where the archive goes: a stream that hands everything on.
struct Sink : std::streambuf {
  void* sink;
  void (*write)(void* sink, const uint8_t* bytes, size_t n);

  std::streamsize xsputn(const char* bytes, std::streamsize n) override {
    write(sink, reinterpret_cast<const uint8_t*>(bytes), static_cast<size_t>(n));
    return n;
  }
  int_type overflow(int_type byte) override {
    const char value = traits_type::to_char_type(byte);
    return xsputn(&value, 1) == 1 ? byte : traits_type::eof();
  }
};

}  // namespace

int ivf_torchscript_save(const ivf_torchscript* script, void* sink, void (*write)(void* sink, const uint8_t* bytes, size_t n),
                    char** error) {
  return inverse_flow::guarded(error, [&] {
    Program program(script->functions);
    Node root;
    for (size_t i = 0; i < script->n_modules; ++i) {
      Node& node = root.at(script->modules[i].path);
      node.class_name = script->modules[i].class_name;
      node.source = script->modules[i].source;
    }
    for (size_t i = 0; i < script->n_tensors; ++i) {
      const ivf_torchscript_tensor& t = script->tensors[i];
      const std::string full = t.name;
      const size_t dot = full.rfind('.');
      const std::string path = dot == std::string::npos ? "" : full.substr(0, dot);
      const bool is_parameter = t.is_parameter != 0;
      // whoever loads the file says where it goes
      const at::Tensor value = inverse_flow::borrow(t.tensor).detach().cpu().contiguous().set_requires_grad(is_parameter);
      root.at(path).attributes.push_back(
          {full.substr(dot + 1), c10::TensorType::get(), value, is_parameter, /*is_buffer=*/!is_parameter});
    }
    for (size_t i = 0; i < script->n_constants; ++i) {
      const ivf_torchscript_constant& c = script->constants[i];
      auto [type, value] = program.evaluate(c.type, c.value);
      root.at(c.module).attributes.push_back({c.name, std::move(type), std::move(value)});
    }
    const Module module = program.make(root);
    Sink buffer;
    buffer.sink = sink;
    buffer.write = write;
    std::ostream stream(&buffer);
    module.save(stream, {{script->extra_name, script->extra}});
    TORCH_CHECK(stream.good(), "the archive could not be written");
  });
}
